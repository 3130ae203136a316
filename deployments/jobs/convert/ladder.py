"""The comparison of the quantised files, and the importance matrix that guides their rounding."""

import argparse
from pathlib import Path
from typing import Any

from ..common.events import emit
from .heldout import read_calibration
from .llama_cpp import llama
from .texts import tokenize
from .work import quantised_file


def find_importance(
    arguments: argparse.Namespace, f16: Path, tokenizer: Any
) -> tuple[dict[str, Any], dict[str, int]]:
    """Measure how important the matrices' columns are for the training conversations.

    Returns:
        The importance of each matrix's columns, and counts of what was read for it.
    """
    emit("progress", step="reading training conversations for the importance matrix")
    texts, room = list[list[int]](), arguments.calibration_tokens
    for chat in read_calibration(arguments):
        texts.append(tokenize(tokenizer, chat, prompt=False).ids[: min(room, arguments.context)])
        room -= len(texts[-1])
        if room <= 0:
            break
    longest = max(map(len, texts))
    machine = (arguments.threads, arguments.library)
    weights = llama().importance(f16, texts, longest, *machine)
    tokens = sum(map(len, texts))
    return weights, {"conversations": len(texts), "tokens": tokens, "matrices": len(weights)}


def ladder(
    arguments: argparse.Namespace, files: dict[str, Any], checks: dict[str, Any]
) -> dict[str, Any]:
    """Return size, loss and divergence of each quantised file, and the recommended one.

    This is the smallest whose divergence is within --kl-bound.
    """
    rungs = []
    for kind in arguments.quantisations:
        name = quantised_file(arguments, Path(), kind).name
        rung = {"file": name, "quantisation": kind, "imatrix": arguments.imatrix}
        rung |= {"bytes": files[name]["bytes"], "heldout_loss": checks["heldout_loss"][name]}
        rung["heldout_loss_difference"] = checks["heldout_loss_difference"][name]
        rung["kl_divergence"] = checks["kl_divergences"][name]
        rung["kl_interval"] = checks["kl_intervals"][name]
        rungs.append(rung)
    close = [rung for rung in rungs if rung["kl_divergence"] <= arguments.kl_bound]
    smallest = min(close, key=lambda rung: rung["bytes"])["file"] if close else None
    result = {"ladder": rungs, "kl_bound": arguments.kl_bound, "recommended": smallest}
    emit("ladder", text=sentence(rungs, smallest, arguments.kl_bound), **result)
    return result


def sentence(rungs: list[dict[str, Any]], smallest: str | None, bound: float) -> str:
    """Return the comparison of the quantised files as a sentence for the log."""
    each = ", ".join(
        f"{rung['file']} {rung['bytes'] / 1e6:,.0f} MB,"
        f" loss {rung['heldout_loss_difference']:+.4f}, KL {rung['kl_divergence']:.4f}"
        for rung in rungs
    )
    close = f"{smallest} is the smallest whose KL is at most {bound:g} nats"
    if not smallest:
        close = f"no file has a KL of at most {bound:g} nats; list larger ones in quantisations"
    return f"compared with 16 bits on held-out conversations: {each}; {close}"
