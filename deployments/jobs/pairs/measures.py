"""What the adapter does before and after: what it prefers, has kept, and how long it replies."""

import argparse
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ..common.events import emit
from .data import PairData, Replies

LogProbabilities = list[tuple[float, float]]
"""Of the chosen and of the rejected reply of each pair, over all its tokens."""


def log_probabilities(trainer: Any, pairs: Sequence[Replies]) -> LogProbabilities:
    return [
        (
            log_probability(trainer, pair.prompt, pair.chosen),
            log_probability(trainer, pair.prompt, pair.rejected),
        )
        for pair in pairs
    ]


def log_probability(trainer: Any, prompt: list[int], reply: list[int]) -> float:
    ids = [*prompt, *reply]
    return sum_of(trainer, ids, [*[-100] * len(prompt), *reply])


def sum_of(trainer: Any, ids: list[int], labels: list[int]) -> float:
    """Returns the log-probability of the labelled tokens, with TRL's head that builds no logits."""
    import torch

    device = trainer.model.device
    given = {"input_ids": torch.tensor([ids], device=device)}
    given["labels"] = torch.tensor([labels], device=device)
    trainer.model.eval()
    with torch.no_grad(), trainer.accelerator.autocast():
        outputs = trainer.model(**given, use_cache=False, fused_lm_head=True)
    return float(outputs.log_probs.float().sum())


def heldout_loss(trainer: Any, data: PairData) -> float | None:
    """Returns the loss of the supervised training on held-out conversations."""
    if not data.heldout:
        return None
    total = sum(sum_of(trainer, one.ids, one.labels) for one in data.heldout)
    count = sum(label != -100 for one in data.heldout for label in one.labels[1:])
    return -total / count


def reply_length(trainer: Any, data: PairData, arguments: argparse.Namespace) -> float | None:
    """Returns the mean number of tokens of greedy replies to validation prompts."""
    import torch

    pairs = data.pairs["validation"]
    asked = pairs[:: max(1, len(pairs) // max(1, arguments.reply_prompts))]
    asked = asked[: arguments.reply_prompts]
    if not asked:
        return None
    stops = [data.tokenizer.convert_tokens_to_ids(stop) for stop in data.facts["stop_tokens"]]
    how = {"do_sample": False, "max_new_tokens": arguments.reply_tokens, "use_cache": True}
    how |= {"eos_token_id": stops, "pad_token_id": data.tokenizer.pad_token_id}
    lengths = []
    trainer.model.eval()
    for pair in asked:
        ids = torch.tensor([pair.prompt], device=trainer.model.device)
        with torch.no_grad(), trainer.accelerator.autocast():
            written = trainer.model.generate(ids, attention_mask=torch.ones_like(ids), **how)
        lengths.append(written.shape[1] - ids.shape[1])
    return fmean(lengths)


def look(trainer: Any, data: PairData, arguments: argparse.Namespace, when: str) -> dict[str, Any]:
    """Returns what the adapter does now."""
    probabilities = log_probabilities(trainer, data.pairs["validation"])
    found: dict[str, Any] = {
        "heldout_loss": heldout_loss(trainer, data),
        "reply_tokens": reply_length(trainer, data, arguments),
        "prefers_chosen": share_preferred(data.pairs["validation"], probabilities),
    }
    found = {name: value if value is None else round(value, 4) for name, value in found.items()}
    emit("measured", when=when, **found)
    return found | {"log_probabilities": probabilities}


def share_preferred(pairs: Sequence[Replies], found: LogProbabilities) -> float:
    """Returns in how many pairs the tokens of the chosen reply are likelier in the mean."""
    return fmean(
        chosen / len(pair.chosen) > rejected / len(pair.rejected)
        for pair, (chosen, rejected) in zip(pairs, found, strict=True)
    )


def rewards(
    pairs: Sequence[Replies], before: LogProbabilities, after: LogProbabilities, per_token: bool
) -> tuple[float, float]:
    """Returns the share of held-out pairs whose chosen reply gained more, and by how much.

    Args:
        per_token: whether a reply's gain is divided by its length, as in the loss of DPO.
    """
    margins = []
    for pair, (chosen, rejected), (better, worse) in zip(pairs, before, after, strict=True):
        sizes = (len(pair.chosen), len(pair.rejected)) if per_token else (1, 1)
        margins.append((better - chosen) / sizes[0] - (worse - rejected) / sizes[1])
    return fmean(margin > 0 for margin in margins), fmean(margins)
