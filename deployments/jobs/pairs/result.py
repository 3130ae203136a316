"""The metrics of a preference training."""

import argparse
from importlib.metadata import version
from statistics import fmean
from typing import Any

from ..common.files import named, write_json
from ..train.result import PACKAGES
from .data import PairData
from .measures import rewards

LATEST_STEPS = 5
"""Number of last steps over which the final training loss is averaged."""


def compare(
    data: PairData, before: dict[str, Any], after: dict[str, Any], per_token: bool
) -> dict[str, Any]:
    """Return the figures before and after, and the rewards of the validation pairs."""
    probabilities = before.pop("log_probabilities"), after.pop("log_probabilities")
    accuracy, margin = rewards(data.pairs["validation"], *probabilities, per_token)
    measured = {"reward_accuracy": round(accuracy, 4), "reward_margin": round(margin, 4)}
    return measured | {"before": before, "after": after}


def write_pair_metrics(trainer: Any, arguments: argparse.Namespace, facts: dict[str, Any]) -> float:
    """Write metrics.json; return the last loss on validation pairs."""
    log = trainer.state.log_history
    curve, checks = (
        [{"step": e["step"], "loss": round(e[key], 4)} for e in log if key in e]
        for key in ("loss", "eval_loss")
    )
    trainable = (p.numel() for p in trainer.model.parameters() if p.requires_grad)
    metrics = {
        "validation_loss_last": checks[-1]["loss"],
        "train_loss_first": curve[0]["loss"],
        "train_loss_last": round(fmean(entry["loss"] for entry in curve[-LATEST_STEPS:]), 4),
        "steps": trainer.state.global_step,
        **facts,
        "method": arguments.loss,
        "arithmetic": "bfloat16" if trainer.args.bf16 else "float32",
        "trainable_parameters": sum(trainable),
        **{name: named(value) for name, value in vars(arguments).items()},
        "versions": {name: version(name) for name in PACKAGES},
        "loss_curve": curve,
        "validation_curve": [{"step": 0, "loss": facts["validation_loss_first"]}, *checks],
    }
    write_json(arguments.output / "metrics.json", metrics)
    return checks[-1]["loss"]
