"""The figures of a batch: shares with their counts and intervals. A criterion that never applied counts as not tested, never as passed."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from core.judging.intervals import wilson_interval
from core.records import Outcome
from core.views.batches import Batch, Row
from core.views.choosing import view_of


@dataclass(frozen=True)
class Share:
    """A share of conversations or answers, with its interval.

    Args:
        hits: number of those that have the property.
        of: number of all; 0 means that nothing was tested.
    """

    hits: int
    of: int

    @property
    def value(self) -> float | None:
        """The share from 0 to 1; None if nothing was tested."""
        return self.hits / self.of if self.of else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the share; None if nothing was tested."""
        return wilson_interval(self.hits, self.of) if self.of else None

    def __str__(self) -> str:
        if self.value is None or self.interval is None:
            return "not tested"
        return f"{100 * self.value:.0f} % ({self.hits} of {self.of})"

    @property
    def bounds(self) -> str:
        """The interval in words; empty if nothing was tested."""
        return f"{100 * self.interval[0]:.0f} to {100 * self.interval[1]:.0f} %" if self.interval else ""


@dataclass(frozen=True)
class CriterionLine:
    """The answers to a criterion.

    Args:
        kind: the criterion's category, or `gate`.
        yes: share of YES among the answers YES and NO. NA means that the criterion did not apply, and is left out.
        answers: number of each answer.
    """

    id: str
    name: str
    kind: str
    yes: Share
    answers: Counter[str]


@dataclass(frozen=True)
class Figures:
    """The figures of a set of rows.

    Args:
        passed: share of passed conversations among those that passed or failed.
        incomplete: number of conversations whose assessment lacks answers.
        mean: mean score of the complete conversations; None if there is none.
    """

    passed: Share
    incomplete: int
    mean: float | None
    criteria: list[CriterionLine]


def figures_of(batch: Batch, rows: Sequence[Row], view: int = 0) -> Figures:
    """Return the figures of some rows of a batch.

    Args:
        view: whose verdicts are used: 0 for the final ones, otherwise the number of the judge.
    """
    results = [result for row in rows if (result := view_of(row, view))]
    complete = [result for result in results if result.outcome != Outcome.INCOMPLETE.value]
    scores = [result.score for result in complete if result.score is not None]
    counts: dict[str, Counter[str]] = {name: Counter() for name in (batch.pack.rubric.criteria if batch.pack else {})}
    for result in results:
        for name, answer in result.answers.items():
            counts.setdefault(name, Counter())[answer] += 1
    return Figures(
        Share(sum(result.outcome == Outcome.PASS.value for result in complete), len(complete)),
        len(results) - len(complete),
        math.fsum(scores) / len(scores) if scores else None,
        [_line(batch, name, answers) for name, answers in counts.items()],
    )


def _line(batch: Batch, name: str, answers: Counter[str]) -> CriterionLine:
    criterion = batch.pack.rubric.criteria.get(name) if batch.pack else None
    kind = "" if criterion is None else "gate" if criterion.head.gate else (criterion.head.category or "").replace("_", " ")
    return CriterionLine(name, criterion.head.name if criterion else "", kind, Share(answers["YES"], answers["YES"] + answers["NO"]), answers)


def traits_in(batch: Batch) -> dict[str, dict[str, Share]]:
    """Return, by dimension and value, the share of passed conversations. Values of the pack that no persona had are included, as not tested."""
    counted: dict[str, dict[str, list[int]]] = {}
    for name, values in (batch.pack.taxonomy.dimensions if batch.pack else {}).items():
        counted[name] = {value: [0, 0] for value in values}
    if batch.pack:
        counted["episodes"] = {name: [0, 0] for name in batch.pack.episodes.episodes}
        counted["flaws"] = {name: [0, 0] for name in batch.pack.flaws.kinds}
        counted["topics"] = {name: [0, 0] for group in batch.pack.taxonomy.topics.values() for name in group.subtopics}
    for row in batch.rows:
        if row.result is None or row.result.outcome == Outcome.INCOMPLETE.value:
            continue
        for name, values in row.traits.items():
            for value in values:
                counts = counted.setdefault(name, {}).setdefault(value, [0, 0])
                counts[0] += row.result.outcome == Outcome.PASS.value
                counts[1] += 1
    return {name: {value: Share(*counts) for value, counts in values.items()} for name, values in counted.items() if values}
