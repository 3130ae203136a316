"""Measurements of GGUF files against the merged model."""

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
from .texts import tokenize

SAMPLE_TEMPERATURE = 0.7
"""Sampling temperature for the answers to held-out messages."""


def measure_replies(
    llm: Any, ids: list[list[int]], references: list[Written], slack: float
) -> dict[str, Any]:
    """Compare the 16-bit GGUF with the merged model: logits, and greedy replies token by token.

    If the replies first differ at two tokens that the merged model finds nearly equally likely,
    only the tokens before are compared; the rest is not comparable.

    Args:
        ids: tokens of the prompts.
        references: the merged model's logits and replies for these prompts.
        slack: share of the logits' standard deviation by which two tokens may differ and still
            count as equally likely.
    """
    import numpy

    errors, spreads, divergences, alike, worst = 0.0, 0.0, [], 0, 0.0
    same = compared = ties = 0
    for prompt, (reference, written) in zip(ids, references, strict=True):
        # Token by token, as the file is used, with the merged model's reply on both sides.
        rows = [llm.logits(prompt), *(llm.decode([token]) for token in written)]
        logits = numpy.concatenate(rows)
        # Either model may have a padded vocabulary.
        width = min(reference.shape[1], logits.shape[1])
        logits, expected = logits[:, :width], reference[:, :width]
        apart = logits - expected
        # Shifting all logits of a position changes no probability.
        errors += float((apart - apart.mean(1, keepdims=True)).__pow__(2).mean(1).sum())
        spreads += float(expected.var(1).sum())
        divergences += divergence(expected, logits).tolist()
        choices = logits.argmax(1)
        behind = expected.max(1) - expected[numpy.arange(len(expected)), choices]
        near = behind <= slack * expected.std(1)
        alike += int(near.sum())
        worst = max(worst, float(numpy.abs(apart).max()))
        differs = choices[len(prompt) - 1 : -1] != numpy.array(written)
        at = int(differs.argmax()) if differs.any() else len(written)
        tie = at < len(written) and bool(near[len(prompt) - 1 + at])
        same, compared = same + at, compared + (at if tie else len(written))
        ties += tie
    positions = len(divergences)
    return {
        "positions_compared": positions,
        "max_logit_difference": round(worst, 5),
        "logit_difference": round(math.sqrt(errors / spreads), 5),
        "kl_divergence": round(math.fsum(divergences) / positions, 7),
        "argmax_agreement": round(alike / positions, 4),
        "greedy_tokens_compared": compared,
        "greedy_agreement": round(same / compared if compared else 1.0, 4),
        "greedy_near_ties": ties,
    }


def divergence(reference: Any, row: Any) -> Any:
    """Return the Kullback-Leibler divergence of each row from its reference, in nats.

    Args:
        reference, row: logits, one row for each token.
    """
    import numpy

    def logs(rows: Any) -> Any:
        shifted = rows - rows.max(1, keepdims=True)
        return shifted - numpy.log(numpy.exp(shifted).sum(1, keepdims=True))

    ours, theirs = logs(reference.astype("float64")), logs(row.astype("float64"))
    return (numpy.exp(ours) * (ours - theirs)).sum(1)


def answer(
    llm: Any, tokenizer: Any, chat: Messages, limit: int, temperature: float = 0.0
) -> dict[str, Any]:
    """Return the reply to a chat, and whether it ended by itself."""
    ids = tokenize(tokenizer, chat).ids
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
    """Measure a quantised file: losses, divergence from the 16-bit file, replies."""
    examples: list[Example] = measured["examples"]
    exact, llm = (load(path, measured["context"], arguments) for path in (f16, small))
    divergences, limit = list[list[float]](), arguments.reply_tokens

    def logits_of(ids: list[int]) -> Any:
        reference, logits = exact.logits(ids), llm.logits(ids)
        counts = next(counts for row, counts in examples if row == ids)
        apart = divergence(reference, logits)[:-1][counts[1:]]
        divergences.append([round(value, 8) for value in apart.tolist()])
        return import_module("torch").from_numpy(logits)

    losses = token_losses(small.name, logits_of, examples)
    reply = answer(llm, tokenizer, measured["chats"][0], limit)
    # Sampled, as in use: a small model's greedy replies repeat themselves.
    samples = [
        answer(llm, tokenizer, chat, limit, SAMPLE_TEMPERATURE) for chat in measured["asked"]
    ]
    exact.close()
    llm.close()
    return {"losses": losses, "kl": divergences, "replies": reply, "samples": samples}
