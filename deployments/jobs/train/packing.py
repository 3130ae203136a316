"""Packing: several short examples in one row, which do not see each other."""

from typing import Any

from ..common.events import emit, short
from .data import Example

PROBE = 48
"""Tokens of each of the two examples by which it is seen whether a model keeps them apart."""
LEAK = 1e-2
"""Largest change of a logit that is rounding: an example that is seen changes some by more."""


def pack(dataset: Any, examples: list[Example]) -> Any:
    """Returns rows of several examples, none longer than the longest example."""
    from trl import pack_dataset

    return pack_dataset(dataset, max(len(example.ids) for example in examples))


def keeps_apart(model: Any, collator: Any, example: Example) -> bool:
    """Returns whether a model computes the second example of a row without seeing the first.

    Whether it does depends on its layers, on the attention and on the kernels that are installed.
    The logits of the second example must stay the same when the first has other tokens.
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
            # What transformers says of linear attention without the kernels for it.
            emit("fallback", text=f"This base cannot be packed here ({short(error)}).")
            break
    model.train(training)
    if len(logits) < 2:
        return False
    apart = bool((logits[0] - logits[1]).abs().max() < LEAK)
    if not apart:
        wrong = "In a packed row this base lets an example see the one before it"
        emit("fallback", text=f"{wrong}; --packing is ignored.")
    return apart


def on_device(value: Any, device: Any) -> Any:
    return value.to(device) if hasattr(value, "to") else value
