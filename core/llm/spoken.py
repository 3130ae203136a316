"""Prepares a streamed reply for display: removes the model's thinking and everything that could control the terminal.

A piece of the stream may end anywhere, even within a mark or a control sequence; the incomplete end is then held back until the next piece.
"""

import re
from collections.abc import AsyncIterator

from core.terminal import printable
from core.thinking import THINKING, THOUGHT

UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*|[ -/]*|[\]PX^_][^\x07\x1b\x9c\n]*\x1b?)|\x9b[0-?]*[ -/]*|[\x90\x98\x9d-\x9f][^\x07\x1b\x9c\n]*)$")
MAX_SEQUENCE = 2000
"""Maximum characters of an incomplete control sequence that is held back; a longer text is not a sequence."""


async def spoken(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield a reply as it arrives, without its thinking, without control characters, and without whitespace at its beginning."""
    begun = False
    async for piece in _printable(_without_thoughts(pieces)):
        text = piece if begun else piece.lstrip()
        begun = begun or bool(text)
        if text:
            yield text


async def _without_thoughts(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Drop text between the marks of thinking, or after an opening mark that is never closed."""
    held, thinking = "", False
    async for piece in pieces:
        held += piece
        while True:
            mark = THOUGHT if thinking else THINKING
            before, separator, after = held.partition(mark)
            if not separator:
                break
            if not thinking and before:
                yield before
            held, thinking = after, not thinking
        size = _size_of_begun(held, mark)
        if not thinking and len(held) > size:
            yield held[: len(held) - size]
        held = held[len(held) - size :]
    if held and not thinking:
        yield held


async def _printable(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Remove control sequences and control characters."""
    held = ""
    async for piece in pieces:
        held += piece
        unfinished = UNFINISHED.search(held)
        cut = unfinished.start() if unfinished and len(held) - unfinished.start() <= MAX_SEQUENCE else len(held)
        if text := printable(held[:cut]):
            yield text
        held = held[cut:]
    if text := printable(held):
        yield text


def _size_of_begun(text: str, mark: str) -> int:
    """Return the number of characters at the end of a text that may be the beginning of a mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-size:])), 0)
