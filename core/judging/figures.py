"""Statistics of a batch of assessments: rates with denominators and intervals, errors separate from failures, and the judges' agreement."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.judging.agreement import Agreement, agreement, overall_agreement
from core.judging.gather_rule import unmet_by
from core.judging.label_statistics import FEW, RESAMPLES, Estimate, FlipRates, flip_rates, ratio, resampled, share_of
from core.judging.rank_agreement import RankAgreement, rank_agreement
from core.judging.scoring import value_of
from core.packs.rubric import Criterion, GatherRule, Rubric
from core.records import Answer, Assessment, Judged, Outcome, Verdict

MIN_RANK_CORRELATION = 0.5
"""Lowest rank correlation with the other judges at which reports do not name a judge as ranking far from the rest."""


@dataclass(frozen=True)
class CriterionRate:
    """How a criterion was answered.

    Args:
        answers: number of each answer, ERROR included.
        passing: share of the usable answers that pass.
    """

    criterion: Criterion
    answers: Counter[Answer]
    passing: Estimate


@dataclass(frozen=True)
class PanelAgreement:
    """How far a panel's judges agree.

    Args:
        outcome: agreement on whether a transcript passes or fails; an incomplete assessment counts as missing.
        overall: agreement over all criteria.
        criteria: agreement by criterion.
        ranks: how closely each judge's ranking of transcripts follows the other judges'.
    """

    outcome: Agreement
    overall: Agreement
    criteria: dict[str, Agreement]
    ranks: list[RankAgreement]


@dataclass(frozen=True)
class Figures:
    """The figures of a batch; means and rates leave incomplete assessments out, and state their n.

    Args:
        assessed: transcripts; passed + failed + incomplete.
        pass_rate: share of passes among the transcripts that passed or failed.
        mean_score, categories: mean score, and mean of each category, over the same transcripts.
        errors: verdicts that are ERROR.
        answers: all verdicts.
        uncited: usable verdicts that cite no exchange.
        heard: by judge, the tally of its verdicts and of those that say nothing (core/judging/empty_words.py).
        decided: usable verdicts whose answer follows from the listed lapses and differs from the judge's own.
        repaired: number of judges' replies that were read in spite of a fault of form, by fault.
        failed_checks, failed_gates: criteria, each with the number of transcripts that failed it, most frequent first.
        gate_failures: by gate, the transcripts that failed it.
        overruled: by gate and judge, the transcripts that failed the gate at first and passed it when the judge was asked again.
        unfinished: by transcript with an incomplete assessment, the reason.
        shared_families: by judge and family, the number of assessments in which the judge is of the family that wrote the answers.
        gather: the rule that transcripts must meet, besides a pass, to be trained on; None where it was not asked for.
        gathered: transcripts that passed and meet the rule.
        unmet: passed transcripts that do not meet the rule, by the part that they miss.
        trust: how far a panel's judges agree; None for a single judge.
        flips: by judge, how often its answers differ when it judges the same transcript again.
    """

    assessed: int
    passed: int
    failed: int
    incomplete: int
    pass_rate: Estimate
    mean_score: Estimate
    categories: dict[str, Estimate]
    criteria: list[CriterionRate]
    errors: int
    answers: int
    uncited: int
    heard: dict[str, Counter[str]]
    decided: int
    repaired: Counter[str]
    failed_checks: list[tuple[str, int]]
    failed_gates: list[tuple[str, int]]
    gate_failures: dict[str, list[str]]
    overruled: dict[tuple[str, str], list[str]]
    unfinished: dict[str, str]
    shared_families: dict[tuple[str, str], int]
    gather: GatherRule | None = None
    gathered: int = 0
    unmet: Counter[str] = field(default_factory=Counter)
    trust: PanelAgreement | None = None
    flips: dict[str, FlipRates] = field(default_factory=dict)


def figures(judged: Sequence[Judged], rubric: Rubric, again: Mapping[str, Sequence[Assessment]] | None = None, gather: GatherRule | None = None) -> Figures:
    """Return the figures of a batch.

    Args:
        again: by judge, all its assessments of transcripts that it judged several times.
        gather: the rule that transcripts must meet, besides a pass, to be trained on; None leaves it out of the figures.
    """
    decided = [item.final for item in judged]
    complete = [item for item in decided if item.score.outcome is not Outcome.INCOMPLETE]
    outcomes = Counter(item.score.outcome for item in decided)
    verdicts = [verdict for item in decided for verdict in item.verdicts]
    missed = [unmet_by(item, gather, rubric) for item in decided if item.score.outcome is Outcome.PASS] if gather else []
    return Figures(
        assessed=len(decided),
        passed=outcomes[Outcome.PASS],
        failed=outcomes[Outcome.FAIL],
        incomplete=outcomes[Outcome.INCOMPLETE],
        pass_rate=share_of(outcomes[Outcome.PASS], len(complete), FEW, "no assessment is complete"),
        mean_score=_mean([item.score.score for item in complete]),
        categories={name: _mean([item.score.category_scores.get(name) for item in complete]) for name in rubric.numbers.categories},
        criteria=[_rate(criterion, verdicts) for criterion in rubric.criteria.values()],
        errors=sum(verdict.answer is Answer.ERROR for verdict in verdicts),
        answers=len(verdicts),
        uncited=sum(verdict.answer is not Answer.ERROR and not verdict.cited for verdict in verdicts),
        heard=_heard(judged),
        decided=sum(verdict.stated is not None for verdict in verdicts),
        repaired=sum((Counter(own.provenance.get("repaired", {})) for item in judged for own in item.by_judge.values()), Counter[str]()),
        failed_checks=Counter(name for item in decided for name in item.score.failed_checks).most_common(),
        failed_gates=Counter(name for item in decided for name in item.score.failed_gates).most_common(),
        gate_failures=_gate_failures(decided),
        overruled=_overruled(judged, rubric),
        unfinished={item.transcript_id: _reason(item) for item in decided if item.score.outcome is Outcome.INCOMPLETE},
        shared_families=dict(Counter((judge, item.shared_family) for one in judged for judge, item in one.by_judge.items() if item.shared_family)),
        gather=gather,
        gathered=missed.count([]),
        unmet=Counter(part for parts in missed for part in parts),
        trust=_trust(judged, rubric) if any(len(item.by_judge) > 1 for item in judged) else None,
        flips={judge: flips_of(rubric, several) for judge, several in (again or {}).items()},
    )


def caveats_of(judged: Sequence[Judged], batch: Figures) -> list[str]:
    """Return the caveats on the figures of a batch."""
    return sorted({item.final.caveat for item in judged if item.final.caveat}) + own_family(batch)


def criteria_rows(batch: Figures) -> list[dict[str, Any]]:
    """Return how each criterion was answered, as the rows of a table."""
    return [
        {
            "criterion": f"{rate.criterion.id} {rate.criterion.head.name}",
            "category": rate.criterion.head.category or "gate",
            "passes": f"{100 * rate.passing.value:.0f} % of {rate.passing.n}" if rate.passing.value is not None else "none",
            **{answer.value: rate.answers[answer] for answer in Answer},
        }
        for rate in batch.criteria
    ]


def own_family(batch: Figures) -> list[str]:
    """Return a warning for each judge that judged answers of a model of its own family."""
    return [
        f"{judge} judges its own family: in {count} of {batch.assessed} transcripts a model of the family {family} wrote the answers. Judges favour what their "
        "own family writes; name one of another family, or a panel."
        for (judge, family), count in batch.shared_families.items()
    ]


def _mean(values: Sequence[float | None]) -> Estimate:
    known = [value for value in values if value is not None]
    if len(known) < 2:
        return Estimate(known[0] if known else None, len(known), reason=f"complete assessments: {len(known)}")
    totals = np.array([[value, 1.0] for value in known])
    return resampled(totals, lambda sums: ratio(sums[..., 0], sums[..., 1]), "nothing was scored", RESAMPLES, FEW, seed=0)


def _rate(criterion: Criterion, verdicts: Sequence[Verdict]) -> CriterionRate:
    answers = Counter(verdict.answer for verdict in verdicts if verdict.criterion == criterion.id)
    values = [value for answer in answers.elements() if (value := value_of(criterion, answer)) is not None]
    return CriterionRate(criterion, answers, share_of(int(sum(values)), len(values), FEW, "it was not answered"))


def _heard(judged: Sequence[Judged]) -> dict[str, Counter[str]]:
    heard: dict[str, Counter[str]] = {}
    for one in judged:
        for judge, item in one.by_judge.items():
            heard.setdefault(judge, Counter()).update(item.provenance.get("heard", {}))
    return heard


def _gate_failures(decided: Sequence[Assessment]) -> dict[str, list[str]]:
    by_gate: dict[str, list[str]] = {}
    for item in decided:
        for gate in item.score.failed_gates:
            by_gate.setdefault(gate, []).append(item.transcript_id)
    return by_gate


def _overruled(judged: Sequence[Judged], rubric: Rubric) -> dict[tuple[str, str], list[str]]:
    by_criterion: dict[tuple[str, str], list[str]] = {}
    for item in judged:
        for judge, assessment in item.by_judge.items():
            for verdict in assessment.verdicts:
                criterion = rubric.criteria.get(verdict.criterion)
                if verdict.opinions and criterion and value_of(criterion, verdict.answer) == 1:
                    by_criterion.setdefault((verdict.criterion, judge), []).append(item.transcript.id)
    return by_criterion


def _reason(assessment: Assessment) -> str:
    errors = [verdict for verdict in assessment.verdicts if verdict.answer is Answer.ERROR]
    return f"{', '.join(verdict.criterion for verdict in errors)}: {errors[0].reasoning}" if errors else "no criterion applies"


def _trust(judged: Sequence[Judged], rubric: Rubric) -> PanelAgreement:
    answers: dict[str, dict[str, dict[str, str | None]]] = {key: {} for key in rubric.criteria}
    for item in judged:
        for judge, assessment in item.by_judge.items():
            for verdict in assessment.verdicts:
                if verdict.criterion in answers:
                    answers[verdict.criterion].setdefault(item.transcript.id, {})[judge] = verdict.answer
    several = {item.transcript.id: {judge: own.score for judge, own in item.by_judge.items()} for item in judged if len(item.by_judge) > 1}
    complete = {name: {judge: own for judge, own in by_judge.items() if own.outcome is not Outcome.INCOMPLETE} for name, by_judge in several.items()}
    outcomes = {name: {judge: own.outcome.value for judge, own in by_judge.items()} for name, by_judge in complete.items()}
    scores = {name: {judge: own.score if judge in complete[name] else None for judge, own in by_judge.items()} for name, by_judge in several.items()}
    return PanelAgreement(
        agreement(outcomes, RESAMPLES, FEW),
        overall_agreement(answers, RESAMPLES, FEW),
        {key: agreement(by_transcript, RESAMPLES, FEW) for key, by_transcript in answers.items()},
        rank_agreement(scores, MIN_RANK_CORRELATION, FEW),
    )


def flips_of(rubric: Rubric, several: Sequence[Assessment]) -> FlipRates:
    """Return how often a judge's repeated assessments of the same transcripts differ."""
    answers: dict[str, dict[str, list[str | None]]] = {key: {} for key in rubric.criteria}
    for assessment in several:
        for verdict in assessment.verdicts:
            if verdict.criterion in answers:
                answers[verdict.criterion].setdefault(assessment.transcript_id, []).append(verdict.answer)
    return flip_rates(answers, RESAMPLES, FEW)
