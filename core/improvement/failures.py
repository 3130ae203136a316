"""Measures how often the understudy fails in each cell of the taxonomy, and draws personas accordingly.

A cell is a topic's category, a flaw, an episode or a trajectory. A persona is in one or several cells of each kind.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence

from pydantic import FiniteFloat

from core.fingerprint import seed_of
from core.records import Assessment, Persona, Record

PRIOR = 2.0
"""Number of conversations with the overall failure that are added to each cell, since one failure in a cell with one conversation says little."""
NONE = "none"
"""Value of the cell of personas without flaws, and of personas without episodes."""

Met = tuple[Persona, float]
"""A persona and the failure of its conversation, from 0 to 1."""


class Cell(Record):
    """The failure of the conversations with personas of a cell.

    Args:
        kind: topic, flaw, episode or trajectory.
        value: name of the topic's category, flaw, episode or trajectory.
        conversations: number of conversations.
        failure: mean failure of these conversations, smoothed towards the mean of all conversations.
        lift: `failure` divided by the mean of all conversations; 1 if no conversation failed.
    """

    kind: str
    value: str
    conversations: int
    failure: FiniteFloat
    lift: FiniteFloat


def failure_of(assessment: Assessment) -> float:
    """Return the failure of a conversation: 1 if a gate failed, otherwise 1 minus its score."""
    return 1.0 if assessment.score.failed_gates else 1.0 - (assessment.score.score or 0.0)


def cells_of(persona: Persona) -> list[tuple[str, str]]:
    """Return the cells that a persona is in, each once."""
    cells = [("topic", topic.category) for topic in persona.topics]
    cells += [("flaw", flaw.name) for flaw in persona.flaws] or [("flaw", NONE)]
    cells += [("episode", episode.name) for episode in persona.episodes] or [("episode", NONE)]
    return list(dict.fromkeys([*cells, ("trajectory", persona.trajectory)]))


def failure_by_cell(met: Sequence[Met]) -> list[Cell]:
    """Return the cells of the personas met, those with the highest lift first."""
    if not met:
        return []
    overall = math.fsum(failure for _, failure in met) / len(met)
    by_cell: dict[tuple[str, str], list[float]] = defaultdict(list)
    for persona, failure in met:
        for cell in cells_of(persona):
            by_cell[cell].append(failure)
    result = []
    for (kind, value), failures in by_cell.items():
        rate = (math.fsum(failures) + PRIOR * overall) / (len(failures) + PRIOR)
        lift = rate / overall if overall > 0 else 1.0
        result.append(Cell(kind=kind, value=value, conversations=len(failures), failure=rate, lift=lift))
    return sorted(result, key=lambda cell: (-cell.lift, cell.kind, cell.value))


def weight_of(persona: Persona, cells: Iterable[Cell]) -> float:
    """Return the weight with which a persona is drawn; an average persona has 1.

    The weight is the product, over the kinds, of the mean lift of the persona's cells. A cell that was not met has a lift of 1.
    """
    lifts, by_kind = {(cell.kind, cell.value): cell.lift for cell in cells}, defaultdict(list)
    for cell in cells_of(persona):
        by_kind[cell[0]].append(lifts.get(cell, 1.0))
    return math.prod(math.fsum(own) / len(own) for own in by_kind.values())


def draw_where_it_fails(pool: Sequence[Persona], cells: Sequence[Cell], count: int) -> list[Persona]:
    """Draw personas without replacement, in proportion to their weight. The same pool and cells give the same personas.

    Args:
        pool: the personas to draw from; their order makes no difference.
        count: number of personas to draw; the complete pool is returned if it has no more.

    Returns:
        The personas, sorted by seed.

    Source:
        Efraimidis & Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters 97 (2006): 181–185.
    """

    def key(persona: Persona) -> tuple[float, int]:
        uniform = (seed_of("improvement", persona.id) + 0.5) / 2**32
        return math.log(uniform) / weight_of(persona, cells), -persona.seed

    return sorted(sorted(pool, key=key, reverse=True)[:count], key=lambda persona: persona.seed)
