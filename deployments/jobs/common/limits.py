"""What a base can read: tokens that it has embeddings for, and the length it was made for."""

from collections.abc import Iterable, Mapping
from typing import Any

from .events import JobError


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
