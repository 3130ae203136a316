"""Prompts for llama.cpp in which a control token that a message quotes remains text.

llama.cpp reads `<|im_end|>` as one token anywhere in a rendered prompt, so a message could end its own turn and begin another. The texts between a
template's control tokens are therefore tokenized separately, as in the training (deployments/jobs/common/quoting.py).
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
"""Unicode's private use area. One of its characters marks quoted tokens between rendering and tokenizing."""
CONTROL, UNKNOWN = 3, 2
"""Token types that llama.cpp recognises in a text only on request (llama_token_type)."""
FORMS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
STRING, ARRAY = 8, 9
"""Types of values in a GGUF: format characters of `struct` for the numbers, and the two other types (https://github.com/ggml-org/ggml/blob/master/docs/gguf.md)."""
TOKENS, KINDS = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


def control_pattern(tokens: Iterable[str]) -> re.Pattern[str]:
    """Return a pattern that matches control tokens, preferring the longest."""
    return re.compile("|".join(map(re.escape, sorted(filter(str.strip, tokens), key=len, reverse=True))) or r"(?!)")


def mark(messages: Sequence[Mapping[str, str]], controls: re.Pattern[str]) -> tuple[list[dict[str, str]], str]:
    """Return the messages with a mark inside each quoted control token, and the mark, which is empty if no token is quoted."""
    texts = "".join(message["content"] for message in messages)
    plain = [dict(message) for message in messages]
    if not controls.search(texts):
        return plain, ""
    marker = next(chr(code) for code in PRIVATE if chr(code) not in texts)
    return [message | {"content": controls.sub(lambda match: f"{match[0][0]}{marker}{match[0][1:]}", message["content"])} for message in plain], marker


def pieces(prompt: str, marker: str, controls: re.Pattern[str]) -> Iterator[tuple[str, bool]]:
    """Yield the pieces of a rendered prompt without the marks, and for each whether it is a control token of the template."""
    at = 0
    for match in chain(controls.finditer(prompt), [None]):
        if text := prompt[at : match.start() if match else None].replace(marker, ""):
            yield text, False
        if match:
            yield match[0], True
            at = match.end()


@lru_cache(maxsize=4)
def control_tokens(path: Path) -> re.Pattern[str]:
    """Return a pattern of the control tokens of a GGUF file.

    Raises:
        SettingsError: the file is damaged.
    """
    values: dict[str, Any] = {}
    try:
        with path.open("rb") as file:
            _, _, _, count = _numbers(file, "4sIQQ")
            for _ in range(count):
                key = _text(file)
                value = _value(file, *_numbers(file, "I"))
                if key in (TOKENS, KINDS):
                    values[key] = value
    except (struct.error, OverflowError, MemoryError, KeyError) as error:
        raise SettingsError(f"{path} is damaged: its header cannot be read. Convert the model again.") from error
    named = zip(values.get(TOKENS, []), values.get(KINDS, []), strict=False)
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
