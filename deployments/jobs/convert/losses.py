"""Losses on texts, and confidence intervals of their differences."""

import math
from collections.abc import Callable
from typing import Any

from ..common.events import JobError
from .heldout import Example

Losses = list[list[float]]
"""For each example, the losses in nats of the tokens that count."""
QUANTILE = 1.96
"""Normal quantile for a 95 % interval."""


def token_losses(
    name: str, logits_of: Callable[[list[int]], Any], examples: list[Example]
) -> Losses:
    """Measure a model's losses.

    Args:
        name: the model's name, for the error message.
        logits_of: returns the logits of a text, one row for each token.

    Raises:
        JobError: a loss is not finite.
    """
    import torch

    losses = []
    with torch.inference_mode():
        for ids, counts in examples:
            mask = torch.tensor(counts[1:])
            logits, targets = logits_of(ids)[:-1][mask].float(), torch.tensor(ids[1:])[mask]
            row = torch.nn.functional.cross_entropy(logits, targets, reduction="none")
            losses.append([round(loss, 6) for loss in row.tolist()])
            if wrong := [loss for loss in losses[-1] if not math.isfinite(loss)]:
                text = f"On held-out text a loss of {name} is {wrong[0]}"
                raise JobError(f"{text}; its weights are damaged or overflow: train it again.")
    return losses


def torch_losses(name: str, model: Any, examples: list[Example]) -> Losses:
    import torch

    return token_losses(name, lambda ids: model(input_ids=torch.tensor([ids])).logits[0], examples)


def mean(losses: Losses) -> float:
    return round(math.fsum(map(math.fsum, losses)) / sum(map(len, losses)), 5)


def compare(these: Losses, those: Losses) -> tuple[float, float]:
    """Return the mean difference of paired losses, and half the width of its 95 % interval."""
    pairs = zip(these, those, strict=True)
    return interval([[a - b for a, b in zip(this, that, strict=True)] for this, that in pairs])


def interval(figures: list[list[float]]) -> tuple[float, float]:
    """Return the mean over all tokens, and half the width of its 95 % interval.

    The interval is clustered by text, since the tokens of a text are not independent. With a single
    text, each token is its own cluster.

    Args:
        figures: for each text, one figure for each token.
    """
    count = sum(map(len, figures))
    centre = math.fsum(map(math.fsum, figures)) / count
    groups = figures if len(figures) > 1 else [[figure] for figure in figures[0]]
    squares = [math.fsum(figure - centre for figure in group) ** 2 for group in groups]
    return round(centre, 5), round(QUANTILE * math.sqrt(math.fsum(squares)) / count, 5)
