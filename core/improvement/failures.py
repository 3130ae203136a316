"""Where the understudy fails, by cell of the taxonomy, and the personas that are drawn by it.

A cell is a topic's category, a flaw, an episode or a trajectory. A persona is in one or several cells of each kind.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import FiniteFloat

from core.fingerprint import seed_of
from core.records import Assessment, Persona, Record

PRIOR = 2.0
"""Conversations at the overall rate that are added to those of each cell: one failure in a cell that was met once is hardly a sign."""
NONE = "none"
"""Cell of the personas that have no flaw, or meet no episode."""

Met = tuple[Persona, float]
"""A persona, and how far its conversation failed, 0 to 1."""


class Cell(Record):
    """How often conversations with personas of a cell failed.

    Args:
        kind: topic, flaw, episode or trajectory.
        failure: mean of the conversations, smoothed towards that of all.
        lift: the same over the mean of all; 1 where nothing failed.
    """

    kind: str
    value: str
    conversations: int
    failure: FiniteFloat
    lift: FiniteFloat


def failure_of(assessment: Assessment) -> float:
    """Return how far a conversation failed: 1 with a failed gate, else what is missing of the full score."""
    return 1.0 if assessment.score.failed_gates else 1.0 - (assessment.score.score or 0.0)


def cells_of(persona: Persona) -> list[tuple[str, str]]:
    """Return the cells that a persona is in, each once."""
    found = [("topic", topic.category) for topic in persona.topics]
    found += [("flaw", flaw.name) for flaw in persona.flaws] or [("flaw", NONE)]
    found += [("episode", episode.name) for episode in persona.episodes] or [("episode", NONE)]
    return list(dict.fromkeys([*found, ("trajectory", persona.trajectory)]))


def failure_by_cell(met: Sequence[Met]) -> list[Cell]:
    """Return the cells that were met, those with the highest lift first."""
    if not met:
        return []
    overall = math.fsum(failure for _, failure in met) / len(met)
    by_cell: dict[tuple[str, str], list[float]] = defaultdict(list)
    for persona, failure in met:
        for cell in cells_of(persona):
            by_cell[cell].append(failure)
    found = []
    for (kind, value), failures in by_cell.items():
        rate = (math.fsum(failures) + PRIOR * overall) / (len(failures) + PRIOR)
        lift = rate / overall if overall > 0 else 1.0
        found.append(Cell(kind=kind, value=value, conversations=len(failures), failure=rate, lift=lift))
    return sorted(found, key=lambda cell: (-cell.lift, cell.kind, cell.value))


def weight_of(persona: Persona, cells: Iterable[Cell]) -> float:
    """Return how much sooner than an average persona one is drawn: the product over the kinds of the mean lift of its cells; a cell not met has 1."""
    lifts, by_kind = {(cell.kind, cell.value): cell.lift for cell in cells}, defaultdict(list)
    for cell in cells_of(persona):
        by_kind[cell[0]].append(lifts.get(cell, 1.0))
    return math.prod(math.fsum(own) / len(own) for own in by_kind.values())


def draw_where_it_fails(pool: Sequence[Persona], cells: Sequence[Cell], count: int) -> list[Persona]:
    """Draw personas without replacement, in proportion to their weight; the same pool and cells give the same ones.

    Args:
        pool: of all that may be drawn; its order makes no difference.
        count: that are drawn; all of the pool if it has no more.

    Returns:
        The personas by their seed.

    Source:
        Efraimidis & Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97 (2006): 181–185.
    """

    def key(persona: Persona) -> tuple[float, int]:
        uniform = (seed_of("improvement", persona.id) + 0.5) / 2**32
        return math.log(uniform) / weight_of(persona, cells), -persona.seed

    return sorted(sorted(pool, key=key, reverse=True)[:count], key=lambda persona: persona.seed)
