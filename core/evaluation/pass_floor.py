"""How much of what an arm was to play passes: what it has to reach whatever its base does."""

from collections.abc import Mapping, Sequence

from pydantic import FiniteFloat

from core.evaluation.outcomes import Trial, passed
from core.evaluation.paired_statistics import mean_of, rate_bound
from core.records import Record


class PassShare(Record):
    """The share of an arm's conversations that pass; what is missing has not passed.

    Args:
        passed, conversations: how many pass, of how many that were to be played; those that the simulated user spoiled tell nothing of the arm.
        missing: of these, lost or not judged.
        share: the mean over personas, each of which counts the same.
        low, high: one-sided 95 % bounds of it, with personas as the units.
    """

    passed: int
    conversations: int
    missing: int
    share: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


def pass_share(conversations: Mapping[tuple[int, int], Trial], planned: Sequence[tuple[int, int]]) -> PassShare:
    """Return what passes of an arm's conversations.

    Args:
        planned: persona and trial of all that were to be played.
    """
    by_persona: dict[int, list[float]] = {}
    missing = 0
    for key in planned:
        item = conversations.get(key)
        if item is not None and item.simulator_broke:
            continue
        complete = item is not None and item.complete
        missing += not complete
        by_persona.setdefault(key[0], []).append((passed(item) or 0.0) if item is not None and complete else 0.0)
    each = [value for values in by_persona.values() for value in values]
    share, units = (mean_of([mean_of(values) for values in by_persona.values()]), len(by_persona)) if each else (0.0, 1)
    return PassShare(
        passed=int(sum(each)),
        conversations=len(each),
        missing=missing,
        share=share,
        low=max(0.0, 1 - rate_bound(1 - share, 0.0, (units, 1))),
        high=rate_bound(share, 0.0, (units, 1)),
    )
