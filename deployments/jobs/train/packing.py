"""Packing: several short examples share a row without seeing each other."""

from typing import Any

from ..common.events import emit, short
from .data import Example

PROBE = 48
"""Number of tokens of each of the two examples with which a model is tested."""
LEAK = 1e-2
"""Change of a logit from which on the model sees the other example; smaller ones are rounding."""


def pack(dataset: Any, examples: list[Example]) -> Any:
    """Return rows of several examples, none longer than the longest example."""
    from trl import pack_dataset

    return pack_dataset(dataset, max(len(example.ids) for example in examples))


def keeps_apart(model: Any, collator: Any, example: Example) -> bool:
    """Return whether a model computes the second example of a row without seeing the first.

    This depends on its layers, on the attention and on the installed kernels. The logits of the
    second example must not change when the first one has other tokens.
    """
    import torch

    ids = [int(token) for token in example.ids[:PROBE]]
    first, others = ids, ids[::-1]
    logits = []
    training = model.training
    model.eval()
    for before in (first, others):
        row = {"input_ids": before + ids, "labels": before + ids, "seq_lengths": [len(ids)] * 2}
        batch = {name: on_device(value, model.device) for name, value in collator([row]).items()}
        batch.pop("labels")
        try:
            with torch.no_grad():
                logits.append(model(**batch, use_cache=False).logits[0, len(ids) :].float())
        except (ValueError, ImportError, NotImplementedError) as error:
            # Raised by transformers for linear attention if its kernels are not installed.
            text = f"Packing is not possible with this base here ({short(error)}); it is ignored."
            emit("fallback", text=text)
            break
    model.train(training)
    if len(logits) < 2:
        return False
    apart = bool((logits[0] - logits[1]).abs().max() < LEAK)
    if not apart:
        wrong = "With this base, an example in a packed row sees the one before it"
        emit("fallback", text=f"{wrong}; --packing is ignored.")
    return apart


def on_device(value: Any, device: Any) -> Any:
    return value.to(device) if hasattr(value, "to") else value
