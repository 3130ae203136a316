"""What a base can be and read: its kind, its tokens with embeddings, the length it was made for."""

from collections.abc import Iterable, Mapping
from typing import Any

from .events import JobError

EXPERTS = ("enable_moe_block", "num_experts", "num_local_experts", "n_routed_experts")
"""What a config says of a mixture of experts, by family."""


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Returns a configuration; of a model with images, that of its text part."""
    return {**config, **(config.get("text_config") or {})}


def context_of(config: Mapping[str, Any]) -> int | None:
    """Returns how many tokens a base's positions reach, with a scaling that its config names.

    None if the config does not say it.
    """
    text = text_part(config)
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    factor, original = rope.get("factor"), rope.get("original_max_position_embeddings")
    scaled = int(factor * original) if factor and original else 0
    return max(int(text.get("max_position_embeddings") or 0), scaled) or None


def check_kind(config: Mapping[str, Any], base: str) -> None:
    """Checks that a base is dense and has weights that an adapter can be trained on.

    Raises:
        JobError: it is a mixture of experts, or its weights are quantised.
    """
    text = text_part(config)
    if any(text.get(name) for name in EXPERTS):
        wrong = f"{base!r} is a mixture of experts, whose experts get no adapter and no quantised"
        raise JobError(f"{wrong} file here; give a dense base such as Qwen3.5, Gemma 4 or Llama.")
    if known := config.get("quantization_config"):
        wrong = f"The weights of {base!r} are quantised ({known.get('quant_method')}), and an"
        remedy = "give the same model in 16 bits, such as the repository that ends in -BF16"
        raise JobError(f"{wrong} adapter cannot be merged into them; {remedy}.")


def check_tokens(tokenizer: Any, rows: Iterable[Iterable[int]], embeddings: int | None) -> None:
    """Checks that every token has an embedding.

    Args:
        embeddings: rows of the matrix; none if they are not known.

    Raises:
        JobError: one has none.
    """
    highest = max((int(token) for row in rows for token in row), default=-1)
    if embeddings is None or highest < embeddings:
        return
    token = tokenizer.convert_ids_to_tokens(highest)
    wrong = (
        f"The tokenizer has the token {token!r} at number {highest}, and the base has embeddings"
    )
    wrong = f"{wrong} for the numbers below {embeddings}: they do not belong together"
    raise JobError(f"{wrong}; give the base with its own tokenizer, or enlarge its embeddings.")
