"""Losses on texts, and the interval of their difference."""

import math
from collections.abc import Callable
from typing import Any

from ..common.events import JobError
from .heldout import Example

Losses = list[list[float]]
"""The losses of the tokens that count, in nats, for each example."""
QUANTILE = 1.96
"""Normal quantile for a 95 % interval."""


def token_losses(
    name: str, logits_of: Callable[[list[int]], Any], examples: list[Example]
) -> Losses:
    """Measures a model's losses.

    Args:
        name: of the model, for the error.
        logits_of: returns a row of logits for each token.

    Raises:
        JobError: a loss is not finite.
    """
    import torch

    losses = []
    with torch.inference_mode():
        for ids, counts in examples:
            mask = torch.tensor(counts[1:])
            logits, wanted = logits_of(ids)[:-1][mask].float(), torch.tensor(ids[1:])[mask]
            found = torch.nn.functional.cross_entropy(logits, wanted, reduction="none")
            losses.append([round(loss, 6) for loss in found.tolist()])
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
    """Returns the mean difference of paired losses, and half of its 95 % interval."""
    pairs = zip(these, those, strict=True)
    return interval([[a - b for a, b in zip(this, that, strict=True)] for this, that in pairs])


def interval(figures: list[list[float]]) -> tuple[float, float]:
    """Returns the mean of each token's figure, and half of its 95 % interval.

    The interval is clustered by text, since the tokens of a text are not independent. With a single
    text, each token is its own cluster.
    """
    count = sum(map(len, figures))
    centre = math.fsum(map(math.fsum, figures)) / count
    groups = figures if len(figures) > 1 else [[one] for one in figures[0]]
    squares = [math.fsum(one - centre for one in group) ** 2 for group in groups]
    return round(centre, 5), round(QUANTILE * math.sqrt(math.fsum(squares)) / count, 5)
