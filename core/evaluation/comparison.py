"""Comparison of each arm of an evaluation with the base: differences, their uncertainty, and the decision."""

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field, FiniteFloat

from core.errors import NothingMadeError
from core.evaluation.attrition import Bounds, Missing, MissingShare, PlausibleWorst, bounds, count_missing, missing_shares, plausible_worst
from core.evaluation.beside_prompts import BesidePrompt, compare_with_prompts, prompt_conditions
from core.evaluation.decision import Condition, Decided, decide_arm
from core.evaluation.mean_differences import (
    Conversations,
    PartDifference,
    PassDifference,
    ScoreDifference,
    category_differences,
    criterion_differences,
    pass_difference,
    score_difference,
)
from core.evaluation.outcomes import Pairs, Trial, by_arm, pair_up, passed, points
from core.evaluation.paired_statistics import holm, mean_of, sign_flip_p
from core.evaluation.pass_floor import PassShare, pass_share
from core.evaluation.safety import GateFailures, Safety, compare_safety, gate_failures
from core.evaluation.sensitivity import Sensitivity, na_by_arm, sensitivities
from core.packs.rubric import Rubric
from core.records import Persona, Record
from core.settings.evaluation import Decision

FLIPS = 100_000
"""Sampled sign patterns, if there are too many to enumerate; a p of 0.05 then has a standard error of 0.0007."""


class ArmSummary(Record):
    """One arm's figures, without a comparison.

    Args:
        missing: its conversations by outcome.
        mean_score: mean over all completed conversations, paired or not.
        passed: number of completed conversations that pass.
        gates: failed gates.
        not_applicable: by criterion, the number of completed conversations in which it was NA, which counts as met.
        passing: share of the planned conversations that pass; None in records of an earlier version.
    """

    missing: Missing
    mean_score: FiniteFloat
    passed: int
    gates: GateFailures
    not_applicable: dict[str, int] = Field(default_factory=dict)
    passing: PassShare | None = None

    @property
    def pass_count(self) -> str:
        """How many of its completed conversations pass, as text."""
        return f"{self.passed} of {self.missing.completed}"


class PersonaDifference(Record):
    """A persona's mean scores over its pairs, and their difference, arm − base."""

    persona: int
    pairs: int
    base_mean: FiniteFloat
    arm_mean: FiniteFloat
    difference: FiniteFloat


class ArmComparison(Record):
    """An arm compared with the base, over the personas and trials that both completed.

    Args:
        categories, criteria: differences by category and by criterion.
        not_compared: reasons by category or criterion, for those that fewer than two personas have in both arms.
        safety: failed gates compared with the base's.
        missing: shares of missing conversations in both arms.
        if_nothing_were_missing: bounds of the difference without missing conversations.
        if_missing_went_badly: the difference in the plausible worst case, which the decision uses; None in records of an earlier version.
        sensitivity: sensitivity analyses of the difference.
        beside_prompts: comparisons with the base under other prompts; empty for arms of the base's own model.
    """

    arm: str
    base: str
    score: ScoreDifference
    by_persona: list[PersonaDifference]
    passes: PassDifference
    categories: dict[str, PartDifference]
    criteria: dict[str, PartDifference]
    not_compared: dict[str, str]
    safety: Safety
    missing: list[MissingShare]
    if_nothing_were_missing: Bounds
    if_missing_went_badly: PlausibleWorst | None = None
    sensitivity: list[Sensitivity] = Field(default_factory=list)
    beside_prompts: list[BesidePrompt] = Field(default_factory=list)
    decided: Decided


class Comparison(Record):
    """All arms, and the comparison of each with the base."""

    base: str
    rule: Decision
    arms: dict[str, ArmSummary]
    comparisons: dict[str, ArmComparison]


def compare_arms(
    played: Sequence[Trial],
    base: str,
    rubric: Rubric,
    rule: Decision,
    resamples: int,
    flips: int = FLIPS,
    personas: Sequence[Persona] = (),
    further: Mapping[str, Sequence[Condition]] | None = None,
    prompted: Sequence[str] = (),
    scripted: bool = False,
) -> Comparison:
    """Compare each arm with the base.

    A pair is a persona and a trial that both arms completed. A persona's pairs are averaged first, and personas have equal weight regardless of their number of
    pairs, because the result is to generalise to new personas. The sign-flip test assumes only that, under the null hypothesis, each persona's difference has
    either sign with equal probability.

    Args:
        played: all conversations of all arms.
        base: name of the arm that the others are compared with.
        rubric: rubric of the assessments, which defines the safety gates.
        rule: thresholds of the decision.
        resamples: number of bootstrap samples.
        flips: number of sampled sign patterns if more than 20 personas have a difference.
        personas: personas of the conversations; empty if they are not known.
        further: by arm, results of conditions that do not depend on these conversations.
        prompted: arms that are the base under another prompt; an arm of another model must be better than each of them.
        scripted: whether a scripted model plays, simulates or judges.

    Raises:
        EvaluationError: the base or another arm is absent, or a conversation is duplicated.
        NothingMadeError: an arm has completed no conversation, or fewer than two personas have a pair.
    """
    by_name = by_arm(played, base)
    gates = [key for key, criterion in rubric.criteria.items() if criterion.head.gate]
    planned = sorted({key for conversations in by_name.values() for key in conversations})
    arms = {name: _arm(conversations, planned, gates) for name, conversations in by_name.items()}
    further = further or {}
    scores = _scores(by_name, base, arms, resamples, flips)
    safe = {name: compare_safety(list(by_name[base].values()), list(by_name[name].values()), gates, rule.safety_margin, name) for name in scores}
    unsafe = [name for name in prompted if safe[name].unsafe or any(condition.forbids for condition in further.get(name, ()))]
    comparisons = {}
    for name, (score, by_persona) in scores.items():
        before, after = by_name[base], by_name[name]
        beside = compare_with_prompts(name, by_name, base, prompted, unsafe, rule)
        lost = missing_shares(arms[base].missing, arms[name].missing, rule.alpha, rule.missing_difference)
        worst = plausible_worst(before, after, planned)
        comparisons[name] = ArmComparison(
            arm=name,
            base=base,
            score=score,
            by_persona=by_persona,
            passes=pass_difference(pair_up(before, after, passed), flips),
            **_parts(before, after, flips),
            safety=safe[name],
            missing=lost,
            if_nothing_were_missing=bounds(before, after, planned),
            if_missing_went_badly=worst,
            sensitivity=sensitivities(before, after, rubric, personas),
            beside_prompts=beside,
            decided=decide_arm(
                *(score, safe[name], lost, worst, rule, pass_share(after, planned)),
                further=[*further.get(name, ()), *prompt_conditions(name, prompted, beside)],
                untrained=name in prompted,
                scripted=scripted,
            ),
        )
    return Comparison(base=base, rule=rule, arms=arms, comparisons=comparisons)


def _scores(
    by_name: Mapping[str, Conversations], base: str, arms: Mapping[str, ArmSummary], resamples: int, flips: int
) -> dict[str, tuple[ScoreDifference, list[PersonaDifference]]]:
    """Return each arm's difference of mean scores, overall and by persona."""
    pairs = {name: pair_up(by_name[base], conversations, points) for name, conversations in by_name.items() if name != base}
    for name, paired in pairs.items():
        _check_enough(paired, arms, base, name)
    adjusted = holm({name: float(sign_flip_p(paired.differences, flips)) for name, paired in pairs.items()})
    return {name: (score_difference(paired, adjusted[name], resamples, flips), _by_persona(paired)) for name, paired in pairs.items()}


def _parts(base: Conversations, arm: Conversations, flips: int) -> dict[str, Any]:
    """Return the fields of categories and criteria."""
    categories, few_categories = category_differences(base, arm, flips)
    criteria, few_criteria = criterion_differences(base, arm, flips)
    return {"categories": categories, "criteria": criteria, "not_compared": few_categories | few_criteria}


def _arm(conversations: Conversations, planned: Sequence[tuple[int, int]], gates: Sequence[str]) -> ArmSummary:
    complete = [item for item in conversations.values() if item.complete]
    return ArmSummary(
        missing=count_missing(conversations, len(planned)),
        mean_score=mean_of([value for item in complete if (value := points(item)) is not None]),
        passed=sum(passed(item) == 1 for item in complete),
        gates=gate_failures(list(conversations.values()), gates),
        not_applicable=na_by_arm(conversations),
        passing=pass_share(conversations, planned),
    )


def _check_enough(pairs: Pairs, arms: Mapping[str, ArmSummary], base: str, name: str) -> None:
    if len(pairs.personas) >= 2:
        return
    lost = {arm: arms[arm].missing.planned - arms[arm].missing.completed for arm in (base, name)}
    reasons = [reason for arm in (base, name) for reason in arms[arm].missing.reasons]
    raise NothingMadeError(
        f"Personas with a conversation completed by both {base} and {name}: {len(pairs.personas)}; at least 2 are needed. Not completed: "
        f"{', '.join(f'{count} of {arm}' for arm, count in lost.items())}.{f' The first reason: {reasons[0]}.' if reasons else ''} "
        "Play more personas, or run the evaluation again to play the missing conversations."
    )


def _by_persona(pairs: Pairs) -> list[PersonaDifference]:
    return [
        PersonaDifference(persona=persona, pairs=number, base_mean=base, arm_mean=arm, difference=float(difference))
        for (persona, (number, base, arm)), difference in zip(pairs.personas.items(), pairs.differences, strict=True)
    ]
