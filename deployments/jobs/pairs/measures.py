"""Figures of the adapter before and after: preferences, loss on held-out data, reply length."""

import argparse
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from ..common.events import emit
from .data import PairData, Replies

LogProbabilities = list[tuple[float, float]]
"""For each pair, the log-probabilities of the chosen and of the rejected reply."""


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
    """Return the log-probability of the labelled tokens.

    It uses TRL's fused head, which does not build the logits.
    """
    import torch

    device = trainer.model.device
    inputs = {"input_ids": torch.tensor([ids], device=device)}
    inputs["labels"] = torch.tensor([labels], device=device)
    trainer.model.eval()
    with torch.no_grad(), trainer.accelerator.autocast():
        outputs = trainer.model(**inputs, use_cache=False, fused_lm_head=True)
    return float(outputs.log_probs.float().sum())


def heldout_loss(trainer: Any, data: PairData) -> float | None:
    """Return the mean loss per token on held-out conversations, as in the supervised training.

    None if there are no held-out conversations.
    """
    if not data.heldout:
        return None
    total = sum(sum_of(trainer, chat.ids, chat.labels) for chat in data.heldout)
    count = sum(label != -100 for chat in data.heldout for label in chat.labels[1:])
    return -total / count


def reply_length(trainer: Any, data: PairData, arguments: argparse.Namespace) -> float | None:
    """Return the mean length, in tokens, of greedy replies to validation prompts.

    None if --reply-prompts is 0.
    """
    import torch

    pairs = data.pairs["validation"]
    sample = pairs[:: max(1, len(pairs) // max(1, arguments.reply_prompts))]
    sample = sample[: arguments.reply_prompts]
    if not sample:
        return None
    stops = [data.tokenizer.convert_tokens_to_ids(stop) for stop in data.facts["stop_tokens"]]
    options = {"do_sample": False, "max_new_tokens": arguments.reply_tokens, "use_cache": True}
    options |= {"eos_token_id": stops, "pad_token_id": data.tokenizer.pad_token_id}
    lengths = []
    trainer.model.eval()
    for pair in sample:
        ids = torch.tensor([pair.prompt], device=trainer.model.device)
        with torch.no_grad(), trainer.accelerator.autocast():
            written = trainer.model.generate(ids, attention_mask=torch.ones_like(ids), **options)
        lengths.append(written.shape[1] - ids.shape[1])
    return fmean(lengths)


def measure_adapter(
    trainer: Any, data: PairData, arguments: argparse.Namespace, when: str
) -> dict[str, Any]:
    """Measure the adapter as it is now, and report the figures.

    Args:
        when: "before" or "after" the training.
    """
    probabilities = log_probabilities(trainer, data.pairs["validation"])
    figures: dict[str, Any] = {
        "heldout_loss": heldout_loss(trainer, data),
        "reply_tokens": reply_length(trainer, data, arguments),
        "prefers_chosen": share_preferred(data.pairs["validation"], probabilities),
    }
    figures = {name: value if value is None else round(value, 4) for name, value in figures.items()}
    emit("measured", when=when, **figures)
    return figures | {"log_probabilities": probabilities}


def share_preferred(pairs: Sequence[Replies], probabilities: LogProbabilities) -> float:
    """Return the share of pairs in which the chosen reply's tokens are likelier on average."""
    return fmean(
        chosen / len(pair.chosen) > rejected / len(pair.rejected)
        for pair, (chosen, rejected) in zip(pairs, probabilities, strict=True)
    )


def rewards(
    pairs: Sequence[Replies], before: LogProbabilities, after: LogProbabilities, per_token: bool
) -> tuple[float, float]:
    """Return the share of pairs whose chosen reply gained more, and the mean difference in gain.

    A reply's gain is the change of its log-probability by the training.

    Args:
        per_token: whether a reply's gain is divided by its length, as in the loss of DPO.
    """
    margins = []
    for pair, (chosen, rejected), (better, worse) in zip(pairs, before, after, strict=True):
        sizes = (len(pair.chosen), len(pair.rejected)) if per_token else (1, 1)
        margins.append((better - chosen) / sizes[0] - (worse - rejected) / sizes[1])
    return fmean(margin > 0 for margin in margins), fmean(margins)


def compare(
    data: PairData, before: dict[str, Any], after: dict[str, Any], per_token: bool
) -> dict[str, Any]:
    """Return the figures before and after, and the rewards of the validation pairs."""
    probabilities = before.pop("log_probabilities"), after.pop("log_probabilities")
    accuracy, margin = rewards(data.pairs["validation"], *probabilities, per_token)
    measured = {"reward_accuracy": round(accuracy, 4), "reward_margin": round(margin, 4)}
    return measured | {"before": before, "after": after}
