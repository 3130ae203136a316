"""Arithmetic on a CPU: 32 bits, or 16 if that is faster at the same loss."""

import argparse
import json
import math
import time
from pathlib import Path
from typing import Any

from ..common.events import emit
from ..common.files import write_json
from ..common.models import load_decoder
from .data import Example

TRIAL_TOKENS, TRIAL_LOSS = 512, 0.01
"""Number of tokens for the comparison, and the allowed difference in loss, in nats: a tenth of the
tolerance for a quantised file."""
TRIAL_PARAMETERS = 50_000_000
"""Number of parameters below which no comparison is made: smaller models spend little of their time
on multiplication."""


def choose_arithmetic(arguments: argparse.Namespace, example: Example) -> str:
    """Choose the arithmetic for training on a CPU; 16 bits need AVX512-BF16 or AMX.

    The choice is stored next to the checkpoints, since a resumed run must use the same one.
    """
    import torch

    record = arguments.output / "arithmetic.json"
    if record.is_file():
        return str(json.loads(record.read_text(encoding="utf-8"))["arithmetic"])
    facts: dict[str, Any] = {"arithmetic": "float32"}
    if cpu_flags() & {"avx512_bf16", "amx_bf16"}:
        options = {"attn_implementation": arguments.attention, "dtype": torch.float32}
        model = load_decoder(arguments.base, arguments.base_revision, **options)
        if model.num_parameters() < TRIAL_PARAMETERS:
            return "float32"
        facts = compare_arithmetic(model, torch.tensor(example.ids[:TRIAL_TOKENS]).long()[None])
        emit("arithmetic", **facts)
    arguments.output.mkdir(parents=True, exist_ok=True)
    write_json(record, facts)
    return str(facts["arithmetic"])


def cpu_flags() -> set[str]:
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.is_file() else []
    return set(next((line for line in lines if line.startswith("flags")), "").split())


def compare_arithmetic(model: Any, ids: Any) -> dict[str, Any]:
    import torch

    def take(narrow: bool) -> tuple[float, float]:
        started = time.monotonic()
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=narrow):
            loss = float(model(input_ids=ids, labels=ids).loss)
        return time.monotonic() - started, loss

    times: dict[bool, float] = {}
    losses: dict[bool, float] = {}
    # The first turn is a warm-up. Of the other two, the faster one was disturbed less.
    for turn in range(3):
        for narrow in (False, True):
            seconds, losses[narrow] = take(narrow)
            times[narrow] = min(seconds, times.get(narrow, seconds)) if turn else math.inf
    same = abs(losses[True] - losses[False]) <= TRIAL_LOSS
    return {
        "arithmetic": "bfloat16" if same and times[True] < times[False] else "float32",
        "speedup": round(times[False] / times[True], 2),
        "loss_difference": round(losses[True] - losses[False], 4),
    }
