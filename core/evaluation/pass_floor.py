"""The share of an arm's planned conversations that pass. It must reach a floor, regardless of the base."""

from collections.abc import Mapping, Sequence

from pydantic import FiniteFloat

from core.evaluation.failure_rates import rate_bound
from core.evaluation.outcomes import Trial, passed
from core.evaluation.paired_statistics import mean_of
from core.records import Record


class PassShare(Record):
    """The share of an arm's planned conversations that pass; a missing conversation counts as failed.

    Args:
        passed: conversations that pass.
        conversations: planned conversations, without those that the simulated user spoiled, because they say nothing about the arm.
        missing: planned conversations that were lost or not judged.
        share: share of passes, averaged over personas with equal weight.
        low, high: one-sided 95 % bounds of the share, with personas as units.
    """

    passed: int
    conversations: int
    missing: int
    share: FiniteFloat
    low: FiniteFloat
    high: FiniteFloat


def pass_share(conversations: Mapping[tuple[int, int], Trial], planned: Sequence[tuple[int, int]]) -> PassShare:
    """Return the share of an arm's planned conversations that pass.

    Args:
        planned: persona and trial of each planned conversation.
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
