"""Ship, iterate or do not deploy: the rule, and what came of each of its conditions."""

from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.attrition import MissingShare, PlausibleWorst
from core.evaluation.mean_differences import ScoreDifference
from core.evaluation.paired_statistics import Interval, format_p
from core.evaluation.pass_floor import PassShare
from core.evaluation.safety import Safety
from core.quantities import format_share
from core.records import Record
from core.settings.evaluation import Decision

LEAST_BASE = 0.3
"""Mean score below which a base counts as having it when a share of it is asked for: 10 % of next to nothing, or of 0, is no gain."""


FORM_ONLY = "scripted company: form only"
"""What a verdict says of itself where a scripted model plays, simulates or judges: the figures show that the software works, and nothing of a model."""
Helps = Literal["again", "confirm", "data", "safety", "forgetting", "personas", "items", "ask", "prompt", "labels"]
"""What helps where a condition does not hold: `core.evaluation.next_step` has each in words."""


class Condition(Record):
    """One condition of the rule.

    Args:
        figure: what it is about, where there is a single one; found: the same in words.
        forbids: why the arm must not be deployed at all, where it is so far from holding.
        helps: what to do where it does not hold; none in the record of an earlier version.
    """

    text: str
    figure: FiniteFloat | None
    found: str
    holds: bool
    forbids: str | None = None
    helps: Helps | None = None


class Decided(Record):
    """What follows for an arm.

    Args:
        untrained: whether the arm is the base under another prompt.
        scripted: whether a scripted model plays, simulates or judges.
    """

    decision: Literal["ship", "iterate", "do not deploy"]
    reason: str
    conditions: list[Condition]
    untrained: bool = False
    scripted: bool = False

    @property
    def verdict(self) -> str:
        """The decision as it is printed: of scripted company never without saying so."""
        return verdict(self.decision, self.scripted)


def verdict(decision: str, scripted: bool) -> str:
    """Return a decision as it is printed."""
    return f"{decision} ({FORM_ONLY})" if scripted else decision


def decide_arm(
    score: ScoreDifference,
    safety: Safety,
    lost: Sequence[MissingShare],
    worst: PlausibleWorst,
    rule: Decision,
    passing: PassShare,
    further: Sequence[Condition] = (),
    untrained: bool = False,
    scripted: bool = False,
) -> Decided:
    """Decide: ship if every condition holds; do not deploy what is not better than the base, passes too little or is unsafe; else iterate.

    Args:
        worst: had missing conversations gone badly.
        passing: how much of what the arm was to play passes.
        further: what came of the conditions that are not about the compared conversations.
        untrained: whether the arm is the base under another prompt.
        scripted: whether a scripted model plays, simulates or judges.
    """
    conditions = [
        *_score_conditions(score, rule),
        _worst_condition(worst, rule),
        *_safety_conditions(safety),
        _missing_condition(lost),
        *_floor_condition(passing, rule),
        *further,
    ]
    unmet = "; ".join(f"{item.text} ({item.found})" for item in conditions if not item.holds)
    forbidden = [
        *(["Not better than the base."] if score.difference <= 0 else []),
        *(["It fails safety gates more often than the base, by more than the margin."] if safety.unsafe else []),
        *(item.forbids for item in conditions if item.forbids),
    ]
    rest = {"conditions": conditions, "untrained": untrained, "scripted": scripted}
    if forbidden:
        return Decided(decision="do not deploy", reason=f"{' '.join(forbidden)} Not met: {unmet}.", **rest)
    if unmet:
        return Decided(decision="iterate", reason=f"Not met: {unmet}.", **rest)
    return Decided(decision="ship", reason=f"Every condition holds.{' This prompt needs no training.' if untrained else ''}", **rest)


def wanted_gain(base: np.ndarray | float, improvement: float) -> np.ndarray | float:
    """Return by how many points of the score an arm must be better than its base: a share of the base's mean, which counts as `LEAST_BASE` at least."""
    return improvement * np.maximum(base, LEAST_BASE)


def enough_gain(base: np.ndarray | float, difference: np.ndarray | float, improvement: float) -> np.ndarray:
    """Return whether differences are gains, and of the asked share of the base's mean."""
    # 0.77 is 10 % better than 0.70, which binary numbers do not know
    return (np.asarray(difference) > 0) & (difference >= wanted_gain(base, improvement - 1e-9))


def _score_conditions(score: ScoreDifference, rule: Decision) -> list[Condition]:
    relative, interval = score.relative, score.interval
    gain = "" if relative is None else f"{100 * relative:+.1f} %{_between(score.relative_interval)}, "
    low = f"; the base scores {score.base_mean:.3f}, and below {LEAST_BASE:g} as many points are asked for as there" if score.base_mean < LEAST_BASE else ""
    return [
        Condition(
            text=f"at least {100 * rule.improvement:.0f} % better than the base",
            figure=relative,
            found=f"{gain}{_points(score.difference, '+')} of 100{low}",
            holds=bool(enough_gain(score.base_mean, score.difference, rule.improvement)),
            helps="data",
        ),
        Condition(
            text=f"p below {rule.alpha:g}",
            figure=score.p_holm,
            found=f"p {format_p(score.p_holm)}" + (", and these personas cannot give one below alpha" if score.least_p >= rule.alpha else ""),
            holds=score.p_holm < rule.alpha,
            helps="personas",
        ),
        Condition(
            text="lower end of the 95 % interval above 0",
            figure=interval[0] if interval else None,
            found=f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "no interval can be had",
            holds=interval is not None and interval[0] > 0,
            helps="personas",
        ),
    ]


def _worst_condition(worst: PlausibleWorst, rule: Decision) -> Condition:
    interval = worst.interval
    held = f"each missing conversation of the arm scored {worst.arm_score:.2f} and each of the base {worst.base_score:.2f}"
    return Condition(
        text=f"gain of {100 * rule.improvement:.0f} % and interval above 0 also if missing conversations had gone badly",
        figure=worst.difference,
        found=f"{worst.difference:+.3f}{f', interval {interval[0]:+.3f} to {interval[1]:+.3f}' if interval else ''}, had {held}"
        if worst.missing
        else "nothing is missing",
        holds=not worst.missing or bool(enough_gain(worst.base_mean, worst.difference, rule.improvement) and interval is not None and interval[0] > 0),
        helps="again",
    )


def _floor_condition(passing: PassShare, rule: Decision) -> list[Condition]:
    """Return the condition that enough of the arm's conversations pass, whatever the base does; none where the settings ask for nothing."""
    if not rule.least_pass_rate:
        return []
    floor, missing = rule.least_pass_rate, f", with {passing.missing} missing counted as not passed" if passing.missing else ""
    return [
        Condition(
            text=f"at least {100 * floor:g} % of its conversations pass, by the lower 95 % bound",
            figure=passing.low,
            found=f"{passing.passed} of {passing.conversations} pass, at least {100 * passing.low:.1f} %{missing}",
            holds=passing.low >= floor,
            forbids=f"It passes {passing.passed} of {passing.conversations} conversations." if passing.high < floor else None,
            helps="data",
        )
    ]


def _between(interval: Interval | None) -> str:
    return f" (95 % interval {100 * interval[0]:+.1f} % to {100 * interval[1]:+.1f} %)" if interval else ""


def _safety_conditions(safety: Safety) -> list[Condition]:
    bound, least = safety.overall.upper_bound, safety.least_bound
    at_best = f", and {_points(least, '+')} even without a failure" if safety.margin <= least < bound else ""
    overall = Condition(
        text=f"share of conversations with a failed gate less than {_points(safety.margin)} above the base's, at the upper 95 % bound",
        figure=bound,
        found=f"at most {_points(bound, '+')}{at_best}",
        holds=not safety.gated or bound < safety.margin,
        helps="safety" if safety.overall.difference > 0 else "personas",
    )
    met = {gate: found.difference for gate, found in safety.gates.items()}
    where_applied = Condition(
        text=f"where a gate applied, its share of failures at most {_points(safety.margin)} above the base's",
        figure=max(met.values(), default=None),
        found="; ".join(f"{gate} {_points(difference, '+')}" for gate, difference in met.items()) or "no gate applied in both arms",
        holds=not safety.too_often,
        helps="safety",
    )
    return [overall, where_applied]


def _points(share: float, sign: str = "") -> str:
    """Return a difference of shares in percentage points."""
    return f"{100 * share:{sign}.1f} points"


def _missing_condition(lost: Sequence[MissingShare]) -> Condition:
    uneven = [item for item in lost if item.unequal]
    return Condition(
        text="as large a share of conversations missing in one arm as in the other",
        figure=max((abs(item.arm_share - item.base_share) for item in lost), default=0.0),
        found="; ".join(f"{item.kind}: {format_share(item.arm_share)} against the base's {format_share(item.base_share)} (p = {item.p:.3f})" for item in uneven)
        or "no unequal shares",
        holds=not uneven,
        helps="again",
    )
