"""Reads the header of a GGUF file: the context that its model was trained with, and the memory that a token takes.

Source: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The package `gguf` also reads the vocabulary, which takes seconds.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of the format by number, with their format characters of `struct`."""
TEXT, ARRAY = 8, 9
MAX_HEAD = 64 * 2**20
"""Maximum size of a header in bytes; those with the largest vocabularies have a quarter of it. A damaged header may claim to be as long as the weights."""
BYTES = 2
"""Size in bytes of a value in llama.cpp's cache, which is f16 by default."""
ONE_IN = {"gemma2": 2, "gemma3": 6}
"""By architecture, n such that one of n layers reads the complete conversation and the others a short window (llama.cpp, `set_swa_pattern`)."""


@dataclass(frozen=True)
class GgufHead:
    """Facts about a GGUF's model.

    Args:
        trained: context that it was trained with, in tokens; None if the file does not state it.
        token_bytes: memory of a token in the cache, in bytes; None if the file does not state enough.
        size: size of the file in bytes.
    """

    trained: int | None
    token_bytes: int | None
    size: int


def read_gguf_head(path: Path) -> GgufHead:
    """Read the header of a GGUF; if it cannot be read, the facts are None."""
    try:
        with path.open("rb") as file:
            metadata = _metadata(file)
    except (OSError, struct.error, MemoryError):
        metadata = {}
    size = path.stat().st_size if path.is_file() else 0
    name = metadata.get("general.architecture")
    own = {key.removeprefix(f"{name}."): value for key, value in metadata.items()}
    trained = own.get("context_length")
    return GgufHead(trained if isinstance(trained, int) and trained > 0 else None, _token_bytes(str(name), own), size)


def _metadata(file: BinaryIO) -> dict[str, Any]:
    """Return the metadata except the vocabulary."""
    if file.read(4) != b"GGUF":
        return {}
    _, _, count = _read(file, "IQQ")
    metadata: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        value = _value(file, *_read(file, "I"))
        if not key.startswith("tokenizer."):
            metadata[key] = value
    return metadata


def _read(file: BinaryIO, kinds: str) -> tuple[Any, ...]:
    form = f"<{kinds}"
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _text(file: BinaryIO) -> str:
    return _bounded(file, *_read(file, "Q")).decode(errors="replace")


def _bounded(file: BinaryIO, count: int) -> bytes:
    """Read a number of bytes that the file states, if they fit into a header."""
    if file.tell() + count > MAX_HEAD:
        raise struct.error(f"{count} is not a possible length")
    return file.read(count)


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == TEXT:
        return _text(file)
    if kind != ARRAY:
        return _scalars(file, kind, 1)[0]
    of, count = _read(file, "IQ")
    return [_text(file) for _ in range(count)] if of == TEXT else _scalars(file, of, count)


def _scalars(file: BinaryIO, kind: int, count: int) -> list[Any]:
    if kind not in SCALARS:
        raise struct.error(f"unknown type {kind}")
    return list(struct.unpack(f"<{count}{SCALARS[kind]}", _bounded(file, count * struct.calcsize(SCALARS[kind]))))


def _token_bytes(name: str, own: dict[str, Any]) -> int | None:
    """Return the size of a token's keys and values in bytes, over all layers except those with a short window, whose cache does not grow."""
    try:
        heads, layers = own["attention.head_count"], own["block_count"]
        kv_heads = own.get("attention.head_count_kv", heads)
        width = own["embedding_length"] // (heads if isinstance(heads, int) else max(heads))
        pair_width = own.get("attention.key_length", width) + own.get("attention.value_length", width)
        cached = sum(kv_heads) if isinstance(kv_heads, list) else kv_heads * layers
        return max(0, -(-cached * pair_width * BYTES // ONE_IN.get(name, 1))) or None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
