"""How the answers of GGUF files differ from those of the merged model."""

import argparse
import math
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.dataset import Messages
from .heldout import Example
from .llama_cpp import load
from .losses import token_losses
from .merging import Written
from .texts import render

SAMPLE_TEMPERATURE = 0.7
"""How freely a held-out message is answered where the Modelfile says nothing."""


def measure_logits(
    llm: Any, ids: list[list[int]], references: list[Written], slack: float
) -> dict[str, Any]:
    """How the 16-bit GGUF's logits differ from the merged model's.

    Args:
        slack: share of the logits' spread by which two tokens may differ and count as equally
            likely.
    """
    import numpy

    errors, spreads, divergences, same, worst = 0.0, 0.0, [], 0, 0.0
    for row, (reference, written) in zip(ids, references, strict=True):
        found = llm.logits([*row, *written])
        # Either side may have padded its vocabulary.
        width = min(reference.shape[1], found.shape[1])
        found, wanted = found[:, :width], reference[:, :width]
        apart = found - wanted
        # A shift of all logits of a position changes no probability.
        errors += float((apart - apart.mean(1, keepdims=True)).__pow__(2).mean(1).sum())
        spreads += float(wanted.var(1).sum())
        divergences += divergence(wanted, found).tolist()
        behind = wanted.max(1) - wanted[numpy.arange(len(wanted)), found.argmax(1)]
        same += int((behind <= slack * wanted.std(1)).sum())
        worst = max(worst, float(numpy.abs(apart).max()))
    positions = len(divergences)
    return {
        "positions_compared": positions,
        "max_logit_difference": round(worst, 5),
        "logit_difference": round(math.sqrt(errors / spreads), 5),
        "kl_divergence": round(math.fsum(divergences) / positions, 7),
        "argmax_agreement": round(same / positions, 4),
    }


def divergence(wanted: Any, found: Any) -> Any:
    """Kullback-Leibler divergence of each row's probabilities from those that are wanted, in nats.

    Args:
        wanted, found: rows of logits.
    """
    import numpy

    def logs(rows: Any) -> Any:
        shifted = rows - rows.max(1, keepdims=True)
        return shifted - numpy.log(numpy.exp(shifted).sum(1, keepdims=True))

    ours, theirs = logs(wanted.astype("float64")), logs(found.astype("float64"))
    return (numpy.exp(ours) * (ours - theirs)).sum(1)


def measure_greedy(
    llm: Any, ids: list[list[int]], references: list[Written], slack: float
) -> dict[str, Any]:
    """How far both write the same.

    They may part where two tokens are nearly as likely to the merged model: what follows then says
    nothing.
    """
    same = compared = ties = 0
    for row, (logits, wanted) in zip(ids, references, strict=True):
        found = llm.write(row, len(wanted))
        pairs = enumerate(zip(wanted, found, strict=False))
        at = next((number for number, (ours, theirs) in pairs if ours != theirs), None)
        if at is None:
            same, compared = same + len(found), compared + len(found)
            continue
        scores, ours, theirs = logits[len(row) - 1 + at], wanted[at], found[at]
        near = theirs < len(scores) and scores[ours] - scores[theirs] <= slack * scores.std()
        same, compared = same + at, compared + (at if near else len(wanted))
        ties += bool(near)
    return {
        "greedy_tokens_compared": compared,
        "greedy_agreement": round(same / compared if compared else 1.0, 4),
        "greedy_near_ties": ties,
    }


def answer(
    llm: Any, tokenizer: Any, chat: Messages, limit: int, temperature: float = 0.0
) -> dict[str, Any]:
    """The reply to a short chat, and whether it ended by itself."""
    ids = tokenizer(render(tokenizer, chat), add_special_tokens=False)["input_ids"]
    written = llm.write(ids, limit, temperature)
    return {
        "prompt": chat[-1]["content"],
        "reply": tokenizer.decode(written, skip_special_tokens=True).strip(),
        "tokens": len(written),
        "ended_by_itself": llm.is_end(written[-1]),
    }


def measure_quantised(
    small: Path, f16: Path, measured: dict[str, Any], tokenizer: Any, arguments: argparse.Namespace
) -> dict[str, Any]:
    """Losses, divergence from the 16-bit file and replies of a quantised file."""
    examples: list[Example] = measured["examples"]
    exact, llm = (load(path, measured["context"], arguments) for path in (f16, small))
    divergences, limit = [], arguments.reply_tokens

    def logits_of(ids: list[int]) -> Any:
        wanted, found = exact.logits(ids), llm.logits(ids)
        counts = next(counts for row, counts in examples if row == ids)
        divergences.extend(divergence(wanted, found)[:-1][counts[1:]].tolist())
        return import_module("torch").from_numpy(found)

    losses = token_losses(logits_of, examples)
    reply = answer(llm, tokenizer, measured["chats"][0], limit)
    # As the model is used: the likeliest tokens of a small one go round in circles.
    samples = [
        answer(llm, tokenizer, chat, limit, SAMPLE_TEMPERATURE) for chat in measured["asked"]
    ]
    exact.close()
    llm.close()
    kl = round(math.fsum(divergences) / len(divergences), 6)
    return {"losses": losses, "kl": kl, "replies": reply, "samples": samples}
