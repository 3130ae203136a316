"""Forgiveness: the answer follows from the lapses that the judge lists and the rubric's numbers, and not from the judge's sense of proportion."""

from collections.abc import Sequence

from core.packs.rubric import Criterion, Forgives, Rubric
from core.records import Answer, Lapse

FORGIVEN_FROM = 3
"""Number of exchanges from which at least one light lapse is forgiven, even if the rubric's share of the exchanges is less than one."""


def forgiven(rule: Forgives, exchanges: int) -> int:
    """Return how many light lapses a criterion forgives in a transcript of this length."""
    return max(rule.light * exchanges // rule.per, int(exchanges >= FORGIVEN_FROM and rule.light > 0))


def decide(rubric: Rubric, criterion: Criterion, answer: Answer, lapses: Sequence[Lapse], exchanges: int) -> Answer:
    """Return the answer that follows from the lapses that a judge listed.

    A gate forgives nothing. A criterion in the rubric's `forgives` forgives light lapses up to its number, and no grave one. For every other criterion, and
    wherever the judge lists no lapse, its own answer is returned.

    Args:
        answer: the judge's own.
        exchanges: length of the transcript.
    """
    if not lapses:
        return answer
    if criterion.head.gate:
        return Answer.NO
    rule = rubric.numbers.forgives.get(criterion.id)
    if rule is None:
        return answer
    light = sum(lapse.weight == "light" for lapse in lapses)
    return Answer.YES if light == len(lapses) and light <= forgiven(rule, exchanges) else Answer.NO
