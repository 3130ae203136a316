"""Checks during a training: figures and weights are finite, and the loss has not diverged."""

import argparse
import math
from collections.abc import Iterable, Mapping
from statistics import fmean
from typing import Any

from ..common.events import JobError

FIGURES = ("loss", "eval_loss", "grad_norm")
"""Logged figures that must be finite. Others, such as an entropy, may be NaN if a model gives a
token a probability of zero."""
DIVERGED = 2.0
"""Multiple of the loss before training, or of one nat if that loss was lower, above which a loss
has diverged. Overfitting seldom reaches it; a learning rate that is too high soon does."""
LATEST = 5
"""Number of steps over which the training loss is averaged, since single steps vary by chance."""


class DivergedError(JobError):
    """A training that further steps cannot recover; its checkpoints are removed."""


def check_step(
    logs: Mapping[str, Any], log: list[dict[str, Any]], step: int, first: float | None, rate: float
) -> None:
    """Check the figures that were logged at a step.

    Args:
        logs: the figures of this step.
        log: all entries so far, the latest last.
        first: validation loss before the training; None while it is being measured.
        rate: --learning-rate.

    Raises:
        DivergedError: a figure is not finite, or a loss is far above the one before the training.
    """
    remedy = f"lower --learning-rate ({rate:g})"
    wrong = [name for name in FIGURES if not math.isfinite(logs.get(name, 0.0))]
    if wrong and first is None:
        text = f"The validation loss of the base, before any training, is {logs[wrong[0]]}"
        raise DivergedError(f"{text}; its weights are damaged, or --attention does not suit it.")
    if wrong:
        figure = f"{name_of(wrong[0])} is {logs[wrong[0]]} at step {step}"
        raise DivergedError(f"The training diverged: the {figure}; {remedy}.")
    losses = [entry["loss"] for entry in log if "loss" in entry][-LATEST:]
    latest, name = logs.get("eval_loss"), "validation loss"
    if latest is None and "loss" in logs and len(losses) == LATEST:
        latest, name = fmean(losses), f"training loss (mean of {LATEST} steps)"
    if first is None or latest is None or latest <= DIVERGED * max(1.0, first):
        return
    figure = f"the {name} is {latest:.4g} at step {step}, and it was {first:.4g} before"
    raise DivergedError(f"The training diverged: {figure}; {remedy}.")


def name_of(figure: str) -> str:
    names = {"eval_loss": "validation loss", "grad_norm": "norm of the gradient"}
    return names.get(figure, "training loss")


def check_weights(
    weights: Iterable[tuple[str, Any]], arguments: argparse.Namespace, step: int
) -> None:
    """Check that the trained weights are finite; called before they are saved."""
    import torch

    for name, weight in weights:
        if weight.requires_grad and not bool(torch.isfinite(weight).all()):
            wrong = f"The training diverged: {name} is not finite after step {step}"
            raise DivergedError(f"{wrong}; lower --learning-rate ({arguments.learning_rate:g}).")
