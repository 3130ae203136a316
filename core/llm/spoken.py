"""What a model says, made fit to be shown as it comes: its thinking is left out, and so is all that a terminal would obey.

A piece of a streamed reply may end anywhere, also within a mark or a control sequence; its end is then held back until the next piece.
"""

import re
from collections.abc import AsyncIterator

from core.terminal import printable
from core.thinking import THINKING, THOUGHT

UNFINISHED = re.compile(r"(?:\x1b(?:\[[0-?]*[ -/]*|[ -/]*|[\]PX^_][^\x07\x1b\x9c\n]*\x1b?)|\x9b[0-?]*[ -/]*|[\x90\x98\x9d-\x9f][^\x07\x1b\x9c\n]*)$")
LONGEST = 2000
"""Characters of a sequence that is waited for; a longer one is no sequence."""


async def spoken(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Yield a reply as it comes, without its thinking, without controls, and without blank lines at its beginning."""
    begun = False
    async for text in _safe(_aloud(pieces)):
        shown = text if begun else text.lstrip()
        begun = begun or bool(shown)
        if shown:
            yield shown


async def _aloud(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Leave out what stands between the marks of thinking, which may not be closed."""
    held, thinking = "", False
    async for piece in pieces:
        held += piece
        while True:
            mark = THOUGHT if thinking else THINKING
            before, found, after = held.partition(mark)
            if not found:
                break
            if not thinking and before:
                yield before
            held, thinking = after, not thinking
        kept = _begun(held, mark)
        if not thinking and len(held) > kept:
            yield held[: len(held) - kept]
        held = held[len(held) - kept :]
    if held and not thinking:
        yield held


async def _safe(pieces: AsyncIterator[str]) -> AsyncIterator[str]:
    """Leave out controls."""
    held = ""
    async for piece in pieces:
        held += piece
        unfinished = UNFINISHED.search(held)
        cut = unfinished.start() if unfinished and len(held) - unfinished.start() <= LONGEST else len(held)
        if shown := printable(held[:cut]):
            yield shown
        held = held[cut:]
    if shown := printable(held):
        yield shown


def _begun(text: str, mark: str) -> int:
    """Return how many characters at the end of a text may be the beginning of a mark."""
    return next((size for size in range(min(len(text), len(mark) - 1), 0, -1) if mark.startswith(text[-size:])), 0)
