"""Statistics of a batch of assessments: rates with denominators and intervals, errors apart from failures, and the judges' agreement."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from core.judging.agreement import Agreement, RankAgreement, agreement, overall_agreement, rank_agreement
from core.judging.gather_rule import unmet_by
from core.judging.label_statistics import FEW, RESAMPLES, Estimate, FlipRates, flip_rates, ratio, resampled, share_of
from core.judging.scoring import value_of
from core.packs.pack import Criterion, GatherRule, Rubric
from core.records import Answer, Assessment, Judged, Outcome, Verdict

MIN_RANK_CORRELATION = 0.5
"""A judge whose ranks correlate less with the other judges' is named."""


@dataclass(frozen=True)
class CriterionRate:
    """How a criterion was answered.

    Args:
        answers: counts; ERROR is one of them.
        passing: of the answers that can be used, the share that passes.
    """

    criterion: Criterion
    answers: Counter[Answer]
    passing: Estimate


@dataclass(frozen=True)
class PanelAgreement:
    """How far a panel's judges agree.

    Args:
        outcome: whether a transcript passes or fails; an incomplete assessment says neither.
        overall, criteria: over all criteria, and by criterion.
        ranks: how each judge ranks the transcripts beside the others.
    """

    outcome: Agreement
    overall: Agreement
    criteria: dict[str, Agreement]
    ranks: list[RankAgreement]


@dataclass(frozen=True)
class Figures:
    """A batch in figures; means and rates leave incomplete assessments out, and say on how many they rest.

    Args:
        assessed: transcripts; passed + failed + incomplete.
        pass_rate: of those that passed or failed.
        mean_score, categories: of the same.
        errors, answers: verdicts that are ERROR, of all verdicts.
        uncited: usable verdicts that cite no exchange.
        heard: by judge, verdicts in all its replies and those of them that say nothing (core/judging/empty_words.py).
        decided: usable verdicts in which the answer that follows from the lapses is not the judge's own.
        repaired: by what was looked past to read them, replies of judges.
        failed_checks, failed_gates: by frequency, the criterion and how many transcripts failed it.
        gate_failures: by gate, the transcripts that failed it.
        overruled: by gate and judge, the transcripts that failed it at first and passed when asked again.
        unfinished: by transcript whose assessment is incomplete, the first reason.
        shared_families: by judge and family, assessments in which the judge is of the family that wrote the answers.
        gather: what is asked of a transcript beside a pass, where that is known.
        gathered: transcripts that passed and meet it; unmet: by what they miss, those that passed and do not.
        trust: of a panel.
        flips: by judge, how often it answered otherwise when it judged the same again.
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
    """Return a batch in figures.

    Args:
        gather: what is asked of a transcript beside a pass, if that is to be counted.
        again: by judge, all its assessments of transcripts that it judged several times.
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
    """Return how each criterion was answered, as a table."""
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
    """Say of each judge that judged what a model of its own family wrote."""
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
    several = {item.transcript.id: {judge: found.score for judge, found in item.by_judge.items()} for item in judged if len(item.by_judge) > 1}
    complete = {name: {judge: found for judge, found in given.items() if found.outcome is not Outcome.INCOMPLETE} for name, given in several.items()}
    outcomes = {name: {judge: found.outcome.value for judge, found in given.items()} for name, given in complete.items()}
    scores = {name: {judge: found.score if judge in complete[name] else None for judge, found in given.items()} for name, given in several.items()}
    return PanelAgreement(
        agreement(outcomes, RESAMPLES, FEW),
        overall_agreement(answers, RESAMPLES, FEW),
        {key: agreement(given, RESAMPLES, FEW) for key, given in answers.items()},
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
