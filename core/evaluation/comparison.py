"""Arms of an evaluation against its base: differences, their uncertainty, and the decision."""

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
from core.packs.pack import Rubric
from core.records import Persona, Record
from core.settings.evaluation import Decision

FLIPS = 100_000
"""Sign patterns that are sampled where there are too many to look at each; p then has a standard error of 0.0007 at 0.05."""


class ArmSummary(Record):
    """An arm by itself.

    Args:
        mean_score, passed: over all its completed conversations, paired or not.
        not_applicable: by criterion, in how many of these it was NA, which counts as met.
        passing: how much of what it was to play passes; none in the record of an earlier version.
    """

    missing: Missing
    mean_score: FiniteFloat
    passed: int
    gates: GateFailures
    not_applicable: dict[str, int] = Field(default_factory=dict)
    passing: PassShare | None = None

    @property
    def pass_count(self) -> str:
        """How many of its completed conversations pass, to stand beside its score."""
        return f"{self.passed} of {self.missing.completed}"


class PersonaDifference(Record):
    """A persona's mean scores over its pairs."""

    persona: int
    pairs: int
    base_mean: FiniteFloat
    arm_mean: FiniteFloat
    difference: FiniteFloat


class ArmComparison(Record):
    """An arm beside the base, over the personas and trials that both completed.

    Args:
        not_compared: categories and criteria that fewer than two personas have in both arms, and why.
        if_nothing_were_missing: between which values the difference would lie.
        if_missing_went_badly: the difference that the decision has to survive.
        sensitivity: the difference under other ways of counting.
        beside_prompts: the arm beside the base under other prompts, where the arm is of another model.
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
    """Every arm, and every arm but the base compared with it."""

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

    A pair is a persona and a trial that both arms completed. A persona's pairs are averaged first, and personas then count the same whatever their number of
    pairs: it is to new personas that the result is to apply, and the sign-flip test needs no more than that each persona's difference could have had the
    other sign.

    Args:
        base: the name of the arm that the others are compared with.
        rubric: by which they were judged; it says which criteria are safety gates.
        resamples: bootstrap samples.
        flips: sign patterns that are sampled where more than 20 personas differ between the arms.
        personas: of the conversations, where they are known.
        further: by arm, what came of the conditions that are not about these conversations.
        prompted: arms that are the base under another prompt: an arm of another model has to be better than each of them.
        scripted: whether a scripted model plays, simulates or judges.

    Raises:
        EvaluationError: arms are missing, or conversations are duplicated. NothingMadeError: an arm completed nothing, or fewer than two personas have a pair.
    """
    by_name = by_arm(played, base)
    gates = [key for key, criterion in rubric.criteria.items() if criterion.head.gate]
    planned = sorted({key for conversations in by_name.values() for key in conversations})
    arms = {name: _arm(conversations, planned, gates) for name, conversations in by_name.items()}
    given = further or {}
    scores = _scores(by_name, base, arms, resamples, flips)
    safe = {name: compare_safety(list(by_name[base].values()), list(by_name[name].values()), gates, rule.safety_margin, name) for name in scores}
    unsafe = [name for name in prompted if safe[name].unsafe or any(condition.forbids for condition in given.get(name, ()))]
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
                further=[*given.get(name, ()), *prompt_conditions(name, prompted, beside)],
                untrained=name in prompted,
                scripted=scripted,
            ),
        )
    return Comparison(base=base, rule=rule, arms=arms, comparisons=comparisons)


def _scores(
    by_name: Mapping[str, Conversations], base: str, arms: Mapping[str, ArmSummary], resamples: int, flips: int
) -> dict[str, tuple[ScoreDifference, list[PersonaDifference]]]:
    """Return each arm's difference of mean scores, all of them and persona by persona."""
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
        "Play more personas, or run the evaluation again for what is missing."
    )


def _by_persona(pairs: Pairs) -> list[PersonaDifference]:
    return [
        PersonaDifference(persona=persona, pairs=number, base_mean=base, arm_mean=arm, difference=float(difference))
        for (persona, (number, base, arm)), difference in zip(pairs.personas.items(), pairs.differences, strict=True)
    ]
