"""Prompts for llama.cpp in which a text that quotes a control token stays text.

llama.cpp reads `<|im_end|>` in a rendered prompt as one token wherever it stands, so a message could end its own turn and begin another. The texts between a
template's control tokens are therefore tokenized by themselves, as the training does (deployments/jobs/common/quoting.py).
"""

import re
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import chain
from pathlib import Path
from typing import Any, BinaryIO

from core.errors import SettingsError

PRIVATE = range(0xE000, 0xF900)
"""Unicode's private use area, of which one character marks a quoted token between rendering and tokenizing."""
CONTROL, UNKNOWN = 3, 2
"""Kinds of tokens that are read in a text only where it is asked for (llama.cpp, llama_token_type)."""
FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
"""Types of values in a GGUF (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
TOKENS, KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


def control_pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that finds control tokens, the longest first."""
    return re.compile("|".join(map(re.escape, sorted(filter(str.strip, tokens), key=len, reverse=True))) or r"(?!)")


def mark(messages: Sequence[Mapping[str, str]], controls: re.Pattern[str]) -> tuple[list[dict[str, str]], str]:
    """Return messages with a mark in each control token that they quote, and the mark; it is empty where they quote none."""
    texts = "".join(message["content"] for message in messages)
    plain = [dict(message) for message in messages]
    if not controls.search(texts):
        return plain, ""
    marker = next(chr(code) for code in PRIVATE if chr(code) not in texts)
    return [message | {"content": controls.sub(lambda found: f"{found[0][0]}{marker}{found[0][1:]}", message["content"])} for message in plain], marker


def pieces(prompt: str, marker: str, controls: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a rendered prompt without marks, and whether each is a control token that the template wrote."""
    at = 0
    for found in chain(controls.finditer(prompt), [None]):
        if text := prompt[at : found.start() if found else None].replace(marker, ""):
            yield text, False
        if found:
            yield found[0], True
            at = found.end()


@lru_cache(maxsize=4)
def control_tokens(path: Path) -> re.Pattern[str]:
    """Return a pattern of the control tokens of a GGUF file.

    Raises:
        SettingsError: the file is damaged.
    """
    found: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            _, _, _, count = _numbers(file, "4sIQQ")
            for _ in range(count):
                key = _text(file)
                value = _value(file, *_numbers(file, "I"))
                if key in (TOKENS, KINDS):
                    found[key] = value
    except (struct.error, OverflowError, MemoryError, KeyError) as error:
        raise SettingsError(f"{path} is damaged: its header cannot be read. Convert the model again.") from error
    named = zip(found.get(TOKENS, []), found.get(KINDS, []), strict=False)
    return control_pattern(token for token, kind in named if kind in (CONTROL, UNKNOWN))


def _value(file: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return _text(file)
    if kind != ARRAY:
        return _numbers(file, FORMS[kind])[0]
    inner, count = _numbers(file, "IQ")
    if inner in (STRING, ARRAY):
        return [_value(file, inner) for _ in range(count)]
    return _numbers(file, f"{count}{FORMS[inner]}")


def _numbers(file: BinaryIO, form: str) -> tuple[Any, ...]:
    return struct.unpack(f"<{form}", file.read(struct.calcsize(f"<{form}")))


def _text(file: BinaryIO) -> str:
    (length,) = _numbers(file, "Q")
    raw = file.read(length)
    if len(raw) < length:
        raise struct.error("the file ends")
    return raw.decode(errors="replace")
