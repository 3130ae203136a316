"""Comparison of a person's labels with the judge: the agreement of answers, outcomes and pass rate, and each disagreement."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from core.fingerprint import seed_of
from core.judging.human_agreement import HumanAgreement, human_agreement
from core.judging.label_statistics import FEW, RESAMPLES
from core.judging.review_sheet import Labels
from core.judging.scoring import score
from core.packs.rubric import Rubric
from core.records import Answer, Assessment, Judged, Outcome, Verdict

MAX_SHOWN = 200
"""Characters of a text that a table shows."""

SAMPLE = 30
"""Default number of transcripts on a sheet for a person."""


@dataclass(frozen=True)
class HumanComparison:
    """Agreement of a judge with the person, on one criterion or on the outcome.

    Args:
        errors: labelled transcripts without a usable answer of the judge; they are in no other figure.
    """

    agreement: HumanAgreement
    errors: int


@dataclass(frozen=True)
class JudgeFigures:
    """Agreement of one judge with the person, or of the decision from several judges' answers.

    Args:
        judge: provider/model.
        outcome: on pass or fail, over the transcripts that the person labelled on every criterion that applies.
        criteria: by criterion id.
    """

    judge: str
    outcome: HumanComparison
    criteria: dict[str, HumanComparison]


@dataclass(frozen=True)
class Disagreement:
    """One answer in which a judge and the person differ.

    Args:
        judge: provider/model; None for the decision.
        person: the person's answer.
        answer: the judge's answer.
        reasoning: the judge's, shortened.
        note: the person's, about the whole transcript.
    """

    transcript: str
    judge: str | None
    person: Answer
    answer: Answer
    reasoning: str
    note: str


@dataclass(frozen=True)
class ReviewFigures:
    """The figures of a review.

    Args:
        judged: transcripts of the batch.
        labelled: transcripts with a label.
        fully_labelled: transcripts with a label on every criterion that applies.
        labels, unlabelled: filled and empty cells of the person's sheet.
        names: of the criteria, by id.
        few: a figure from fewer transcripts is only an indication.
        caveats: of the assessments.
        decision: the final assessments.
        judges: each judge alone, where there are several; else empty.
        disagreements: by criterion, in the order of the sheet.
    """

    judged: int
    labelled: int
    fully_labelled: int
    labels: int
    unlabelled: int
    names: dict[str, str]
    few: int
    caveats: list[str]
    decision: JudgeFigures
    judges: list[JudgeFigures]
    disagreements: dict[str, list[Disagreement]]


def compare_labels(labels: Labels, judged: Sequence[Judged], rubric: Rubric, resamples: int = RESAMPLES, few: int = FEW, seed: int = 0) -> ReviewFigures:
    """Compare a person's labels with the decided answers and, if there are several judges, with each judge's.

    An answer ERROR and an incomplete outcome are counted separately: they are neither a NO nor a disagreement.

    Args:
        labels: on some of the transcripts. The corrected pass rate is that of the batch only if `core.judging.review_sheet.sample` drew them.
        judged: the whole batch.
        resamples: bootstrap samples behind kappa's interval.
        few: an estimate from fewer transcripts has a warning.
    """

    def compared(human: Mapping[str, str], judge: Mapping[str, str | None], passing: Collection[str], *parts: str | None) -> HumanComparison:
        errors = sum(judge.get(name) in (None, Answer.ERROR) for name in human)
        return HumanComparison(human_agreement(human, judge, passing, resamples, few, seed_of("review", seed, *parts)), errors)

    def figures(judge: str | None, view: Mapping[str, Assessment]) -> JudgeFigures:
        criteria = {}
        for criterion in rubric.criteria.values():
            passing = {Answer.YES, Answer.NA} if criterion.head.na == "allowed" else {Answer.YES}
            criteria[criterion.id] = compared(_labelled(labels, criterion.id), _answered(view, criterion.id), passing, judge, criterion.id)
        outcomes = {name: _passed_or_failed(item.score.outcome) for name, item in view.items()}
        named = judge or "; ".join(sorted({item.judge for item in view.values()}))
        return JudgeFigures(named, compared(person, outcomes, {Outcome.PASS}, judge), criteria)

    person = _outcomes(labels, judged, rubric)
    views = _views(judged)
    decision, *judges = [figures(judge, view) for judge, view in views.items()]
    return ReviewFigures(
        judged=len(judged),
        labelled=len(labels.answers),
        fully_labelled=len(person),
        labels=sum(map(len, labels.answers.values())),
        unlabelled=len(labels.unlabelled),
        names={item.id: item.head.name for item in rubric.criteria.values()},
        few=few,
        caveats=sorted({item.final.caveat for item in judged if item.final.caveat}),
        decision=decision,
        judges=judges,
        disagreements={criterion: differing for criterion in rubric.criteria if (differing := _disagreements(criterion, labels, views))},
    )


def _views(judged: Sequence[Judged]) -> dict[str | None, dict[str, Assessment]]:
    """Return the assessments by transcript: the final ones under None, then each judge's if there are several judges."""
    judges = sorted({judge for item in judged for judge in item.by_judge})
    each = {judge: {item.transcript.id: item.by_judge[judge] for item in judged if judge in item.by_judge} for judge in judges}
    return {None: {item.transcript.id: item.final for item in judged}, **(each if len(judges) > 1 else {})}


def _labelled(labels: Labels, criterion: str) -> dict[str, Answer]:
    return {name: answers[criterion] for name, answers in labels.answers.items() if criterion in answers}


def _answered(view: Mapping[str, Assessment], criterion: str) -> dict[str, Answer]:
    return {name: verdict.answer for name, item in view.items() for verdict in item.verdicts if verdict.criterion == criterion}


def _outcomes(labels: Labels, judged: Sequence[Judged], rubric: Rubric) -> dict[str, Outcome]:
    """Return pass or fail by the person's labels; a transcript without a label on every criterion that applies is left out."""
    outcomes = {}
    for item in judged:
        verdicts = [Verdict(criterion=name, answer=answer, reasoning="") for name, answer in labels.answers.get(item.transcript.id, {}).items()]
        # a missing label counts as ERROR, which makes the outcome incomplete
        if outcome := _passed_or_failed(score(rubric, verdicts, len(item.transcript.exchanges)).outcome):
            outcomes[item.transcript.id] = outcome
    return outcomes


def _passed_or_failed(outcome: Outcome) -> Outcome | None:
    return None if outcome is Outcome.INCOMPLETE else outcome


def _disagreements(criterion: str, labels: Labels, views: Mapping[str | None, Mapping[str, Assessment]]) -> list[Disagreement]:
    disagreements = []
    for name, label in _labelled(labels, criterion).items():
        for judge, view in views.items():
            for verdict in view[name].verdicts if name in view else ():
                if verdict.criterion == criterion and verdict.answer not in (label, Answer.ERROR):
                    note = labels.notes.get(name, "")
                    disagreements.append(Disagreement(name, judge, label, verdict.answer, shortened(verdict.reasoning), note))
    return disagreements


def shortened(text: str) -> str:
    """Return a text on one line, cut to the length that a table has room for."""
    text = " ".join(text.split())
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1].rstrip() + "…"
