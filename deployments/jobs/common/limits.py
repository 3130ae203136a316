"""Limits of a base: supported architectures, tokens with an embedding, length of the context."""

from collections.abc import Iterable, Mapping
from typing import Any

from .events import JobError

EXPERTS = ("enable_moe_block", "num_experts", "num_local_experts", "n_routed_experts")
"""Fields of a config that mark a mixture of experts; they differ by model family."""


def text_part(config: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a configuration; for a multimodal model, with the values of its text part."""
    return {**config, **(config.get("text_config") or {})}


def context_of(config: Mapping[str, Any]) -> int | None:
    """Return a base's context length in tokens, including the RoPE scaling of its config.

    None if the config does not state it.
    """
    text = text_part(config)
    rope = text.get("rope_parameters") or text.get("rope_scaling") or {}
    factor, original = rope.get("factor"), rope.get("original_max_position_embeddings")
    scaled = int(factor * original) if factor and original else 0
    return max(int(text.get("max_position_embeddings") or 0), scaled) or None


def check_kind(config: Mapping[str, Any], base: str) -> None:
    """Check that a base is dense and has weights that an adapter can be trained on.

    Raises:
        JobError: it is a mixture of experts, or its weights are quantised.
    """
    text = text_part(config)
    if any(text.get(name) for name in EXPERTS):
        wrong = f"{base!r} is a mixture of experts, whose experts can be neither trained nor"
        raise JobError(f"{wrong} quantised here; give a dense base (Qwen3.5, Gemma 4, Llama).")
    if quantised := config.get("quantization_config"):
        wrong = f"The weights of {base!r} are quantised ({quantised.get('quant_method')}), and an"
        remedy = "give the same model in 16 bits, such as the repository that ends in -BF16"
        raise JobError(f"{wrong} adapter cannot be merged into them; {remedy}.")


def check_tokens(tokenizer: Any, rows: Iterable[Iterable[int]], embeddings: int | None) -> None:
    """Check that every token has an embedding.

    Args:
        rows: token ids of texts.
        embeddings: number of rows of the embedding matrix; None skips the check.

    Raises:
        JobError: a token has no embedding.
    """
    highest = max((int(token) for row in rows for token in row), default=-1)
    if embeddings is None or highest < embeddings:
        return
    token = tokenizer.convert_ids_to_tokens(highest)
    wrong = f"The tokenizer's token {token!r} is number {highest}, and the base has embeddings only"
    wrong = f"{wrong} for numbers below {embeddings}: they do not belong together"
    raise JobError(f"{wrong}; give the base with its own tokenizer, or enlarge its embeddings.")
