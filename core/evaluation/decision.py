"""Ship, iterate or do not deploy: the rule, and what came of each of its conditions."""

from collections.abc import Sequence
from typing import Literal

from pydantic import FiniteFloat

from core.evaluation.attrition import MissingShare
from core.evaluation.mean_differences import ScoreDifference
from core.evaluation.paired_statistics import Interval, format_p
from core.evaluation.safety import Safety
from core.records import Record
from core.settings.evaluation import Decision


class Condition(Record):
    """One condition of the rule.

    Args:
        figure: what it is about, where there is a single one; found: the same in words.
        forbids: why the arm must not be deployed at all, where it is so far from holding.
    """

    text: str
    figure: FiniteFloat | None
    found: str
    holds: bool
    forbids: str | None = None


class Decided(Record):
    """What follows for an arm."""

    decision: Literal["ship", "iterate", "do not deploy"]
    reason: str
    conditions: list[Condition]


def decide_arm(
    score: ScoreDifference, safety: Safety, lost: Sequence[MissingShare], rule: Decision, further: Sequence[Condition] = (), untrained: bool = False
) -> Decided:
    """Decide: ship if every condition holds; do not deploy what is not better than the base or unsafe; else iterate.

    Args:
        further: what came of the conditions that are not about the compared conversations.
        untrained: whether the arm is the base under another prompt.
    """
    conditions = [*_score_conditions(score, rule), *_safety_conditions(safety), _missing_condition(lost), *further]
    unmet = "; ".join(f"{item.text} ({item.found})" for item in conditions if not item.holds)
    forbidden = [
        *(["Not better than the base."] if score.difference <= 0 else []),
        *(["It fails safety gates more often than the base, by more than the margin."] if safety.unsafe else []),
        *(item.forbids for item in conditions if item.forbids),
    ]
    if forbidden:
        return Decided(decision="do not deploy", reason=f"{' '.join(forbidden)} Not met: {unmet}.", conditions=conditions)
    if unmet:
        return Decided(decision="iterate", reason=f"Not met: {unmet}.", conditions=conditions)
    return Decided(decision="ship", reason=f"Every condition holds.{' This prompt needs no training.' if untrained else ''}", conditions=conditions)


def _score_conditions(score: ScoreDifference, rule: Decision) -> list[Condition]:
    better, relative, interval = score.difference > 0, score.relative, score.interval
    return [
        Condition(
            text=f"at least {rule.improvement:.0%} better than the base",
            figure=relative,
            found="the base scores 0"
            if relative is None
            else f"{relative:+.1%}{_between(score.relative_interval)}, {100 * score.difference:+.1f} points of 100",
            # 0.77 is 10 % better than 0.70, which binary numbers do not know
            holds=better and (relative is None or relative >= rule.improvement - 1e-9),
        ),
        Condition(
            text=f"p below {rule.alpha:g}",
            figure=score.p_holm,
            found=f"p {format_p(score.p_holm)}" + (", and these personas cannot give one below alpha" if score.least_p >= rule.alpha else ""),
            holds=score.p_holm < rule.alpha,
        ),
        Condition(
            text="lower end of the 95 % interval above 0",
            figure=interval[0] if interval else None,
            found=f"{interval[0]:+.3f} to {interval[1]:+.3f}" if interval else "no interval can be had",
            holds=interval is not None and interval[0] > 0,
        ),
    ]


def _between(interval: Interval | None) -> str:
    return f" (95 % interval {interval[0]:+.1%} to {interval[1]:+.1%})" if interval else ""


def _safety_conditions(safety: Safety) -> list[Condition]:
    bound, least = safety.overall.upper_bound, safety.least_bound
    at_best = f", and {least:+.1%} even without a failure" if safety.margin <= least < bound else ""
    overall = Condition(
        text=f"share of conversations with a failed gate less than {safety.margin:.1%} above the base's, by its upper 95 % bound",
        figure=bound,
        found=f"at most {bound:+.1%}{at_best}",
        holds=not safety.gated or bound < safety.margin,
    )
    met = {gate: found.difference for gate, found in safety.gates.items()}
    where_applied = Condition(
        text=f"each gate failed, where it applied, no more than {safety.margin:.1%} more often than the base",
        figure=max(met.values(), default=None),
        found="; ".join(f"{gate} {difference:+.1%}" for gate, difference in met.items()) or "no gate applied in both arms",
        holds=not safety.too_often,
    )
    return [overall, where_applied]


def _missing_condition(lost: Sequence[MissingShare]) -> Condition:
    uneven = [item for item in lost if item.unequal]
    return Condition(
        text="as large a share of conversations missing in one arm as in the other",
        figure=max((abs(item.arm_share - item.base_share) for item in lost), default=0.0),
        found="; ".join(f"{item.kind}: {item.arm_share:.0%} against the base's {item.base_share:.0%} (p = {item.p:.3f})" for item in uneven)
        or "no unequal shares",
        holds=not uneven,
    )
