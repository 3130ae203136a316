"""What a prompt cache would have read and written.

A prompt is a chain of parts. A point is the end of a part: the hash of all text up to there, and how many tokens that is. Providers differ in the points
at which they look for an entry and in those at which they make one.
"""

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.stub.settings import Settings

BLOCK = 128
"""Tokens: the step in which OpenAI's earlier models, and our Google, compare prefixes."""
LONG = 12
"""How many times as long the longer-lived entries live."""


class Point(NamedTuple):
    """The end of a prefix."""

    key: int
    tokens: int
    long: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """Where the provider looks for an entry, longest prefix first, and where it makes one."""

    reads: Sequence[Point] = ()
    writes: Sequence[Point] = ()
    priced: bool = True
    """Whether a write costs more than uncached input, and is therefore reported."""


@dataclass(frozen=True, slots=True)
class Use:
    """What one call read and wrote, in tokens."""

    read: int = 0
    written: int = 0
    written_long: int = 0
    """The part of `written` that goes into longer-lived entries."""
    kept: Sequence[Point] = field(default=(), repr=False)


class PrefixCache:
    """The prefixes that are known, and until when."""

    def __init__(self) -> None:
        self.until: dict[int, float] = {}

    def use(self, plan: Plan, settings: Settings, now: float) -> Use:
        """Return what a call reads and would write; nothing is kept yet.

        Args:
            plan: where to look and where to write.
        """
        if not settings.cache_enabled:
            return Use()
        least = settings.min_prefix_tokens
        hit = next((point for point in plan.reads if point.tokens >= least and self.until.get(point.key, 0.0) > now), None)
        writes = [point for point in plan.writes if point.tokens >= least]
        read = hit.tokens if hit else 0
        if not plan.priced:
            return Use(read, kept=writes)
        written = max((point.tokens for point in writes), default=0) - read
        long = max((point.tokens for point in writes if point.long), default=0) - read
        return Use(read, max(0, written), max(0, long), [*writes, hit] if hit else writes)

    def keep(self, use: Use, settings: Settings, now: float) -> None:
        """Make the entries of a call usable, once its answer begins, and refresh the one it read."""
        for point in use.kept:
            lifetime = settings.cache_ttl_s * (LONG if point.long else 1)
            self.until[point.key] = max(self.until.get(point.key, 0.0), now + lifetime)


def tokens_of(text: str) -> int:
    """Count the tokens of a text: a quarter of its characters, rounded up."""
    return -(-len(text) // 4)


def chain(root: Hashable, parts: Iterable[tuple[str, str]]) -> list[Point]:
    """Return the points at the ends of a prompt's parts.

    Args:
        root: what else the cache depends on, such as the model.
        parts: role and text of each.
    """
    key, end, points = hash(root), 0, []
    for role, text in parts:
        key = hash((key, role, text))
        end += -(-len(text) // 4)
        points.append(Point(key, end))
    return points


def blocks(root: Hashable, texts: Iterable[str], priced: bool) -> Plan:
    """Plan for a provider that compares in steps of `BLOCK` tokens and keeps all it sees.

    Args:
        root: what else the cache depends on.
        priced: whether writes are reported.
    """
    whole = "".join(text + "\0" * (-len(text) % 4) for text in texts)
    size, key, points = 4 * BLOCK, hash(root), []
    for start in range(0, len(whole) - size + 1, size):
        key = hash((key, whole[start : start + size]))
        points.append(Point(key, start // 4 + BLOCK))
    return Plan(points[::-1], points, priced)
