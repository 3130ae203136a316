"""The head of a GGUF file: what its model was trained to read at once, and what a token takes of memory.

The format: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. The package `gguf` keeps the vocabulary too, which takes seconds.
"""

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
"""Types of the format by number, as `struct` names them."""
TEXT, ARRAY = 8, 9
LARGEST_HEAD = 64 * 2**20
"""Bytes; the heads with the largest vocabularies have a quarter of it. A damaged one may say that it is as long as the weights."""
BYTES = 2
"""Of a value in llama.cpp's cache, which is f16 by default."""
ONE_IN = {"gemma2": 2, "gemma3": 6}
"""Of this many layers one reads the whole conversation and the others a short window (llama.cpp, `set_swa_pattern`)."""


@dataclass(frozen=True)
class GgufHead:
    """What is known of a GGUF's model.

    Args:
        trained: tokens that it was trained to read at once; token_bytes: memory of a token in the cache; none where the file does not say.
        size: of the file, in bytes.
    """

    trained: int | None
    token_bytes: int | None
    size: int


def read_gguf_head(path: Path) -> GgufHead:
    """Read the head of a GGUF; one that cannot be read says nothing."""
    try:
        with path.open("rb") as file:
            found = _metadata(file)
    except (OSError, struct.error, MemoryError):
        found = {}
    size = path.stat().st_size if path.is_file() else 0
    name = found.get("general.architecture")
    own = {key.removeprefix(f"{name}."): value for key, value in found.items()}
    trained = own.get("context_length")
    return GgufHead(trained if isinstance(trained, int) and trained > 0 else None, _token_bytes(str(name), own), size)


def _metadata(file: BinaryIO) -> dict[str, Any]:
    """Return the values but those of the vocabulary."""
    if file.read(4) != b"GGUF":
        return {}
    _, _, count = _read(file, "IQQ")
    found: dict[str, Any] = {}
    for _ in range(count):
        key = _text(file)
        value = _value(file, *_read(file, "I"))
        if not key.startswith("tokenizer."):
            found[key] = value
    return found


def _read(file: BinaryIO, kinds: str) -> tuple[Any, ...]:
    form = f"<{kinds}"
    return struct.unpack(form, file.read(struct.calcsize(form)))


def _text(file: BinaryIO) -> str:
    return _bounded(file, *_read(file, "Q")).decode(errors="replace")


def _bounded(file: BinaryIO, count: int) -> bytes:
    """Read a number of bytes that the file says, as far as a head can have them."""
    if file.tell() + count > LARGEST_HEAD:
        raise struct.error(f"{count} is no length")
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
    """Return what keys and values of a token take in all layers; of layers with a short window nothing, since that does not grow."""
    try:
        heads, layers = own["attention.head_count"], own["block_count"]
        kept = own.get("attention.head_count_kv", heads)
        width = own["embedding_length"] // (heads if isinstance(heads, int) else max(heads))
        wide = own.get("attention.key_length", width) + own.get("attention.value_length", width)
        cached = sum(kept) if isinstance(kept, list) else kept * layers
        return max(0, -(-cached * wide * BYTES // ONE_IN.get(name, 1))) or None
    except (KeyError, TypeError, ValueError, ZeroDivisionError):
        return None
