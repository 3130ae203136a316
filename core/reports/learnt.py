"""What people's labels show about a judge, in plain words: where it is too strict, where too lenient, and where there are too few labels to say."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from core.evaluation.paired_statistics import mcnemar_p
from core.judging.agreement import PairAgreement, pair_agreements
from core.judging.label_statistics import FEW, RESAMPLES, Estimate
from core.judging.review import HumanComparison, ReviewFigures
from core.judging.review_sheet import Labels
from core.packs.rubric import Rubric

ALPHA = 0.05
"""Significance level of the test whether a judge is more often too strict than too lenient, or the reverse. The result only tells a person which criteria to
read again, so it is not adjusted for the number of criteria."""
GOOD = 0.8
"""Share of equal answers that counts as agreement. A judge agrees with a person if the whole 95 % interval is above it, and often differs if it is below."""
MIN_FAILURES = 5
"""Minimum failures for agreement to show whether a judge finds failures."""

Kind = Literal["too strict", "too lenient", "often differs", "agrees", "too few to say", "no label"]
ORDER: tuple[Kind, ...] = ("too strict", "too lenient", "often differs", "agrees", "too few to say", "no label")


@dataclass(frozen=True)
class Lesson:
    """What the labels show about the judge on one criterion, or on the outcome.

    Args:
        criterion: the criterion's id, or "outcome".
        name: the criterion's name.
        strict: share of the person's passes that the judge failed.
        lenient: share of the person's failures that the judge passed.
        same: share of equal answers.
    """

    criterion: str
    name: str
    kind: Kind
    sentence: str
    strict: Estimate
    lenient: Estimate
    same: Estimate
    kappa: Estimate


@dataclass(frozen=True)
class TwoPeople:
    """A comparison of two people over all criteria that both answered.

    Args:
        people: their names.
        same: number of equal answers.
        answers: number of answers that both gave.
    """

    people: tuple[str, str]
    same: int
    answers: int
    agreement: PairAgreement
    sentence: str


@dataclass(frozen=True)
class Dispute:
    """A criterion of a transcript to which people gave different answers.

    Args:
        answers: each person's answer and reason.
    """

    transcript: str
    criterion: str
    answers: dict[str, tuple[str, str]]


def lessons(figures: ReviewFigures, judge: str = "the judge", who: str = "you") -> list[Lesson]:
    """Return the lessons about the decided answers: the outcome first, then the criteria, those to read again before those that agree.

    Args:
        judge: what decided, in words.
        who: the person, as the subject of a sentence.
    """
    outcome = _lesson("outcome", "the whole conversation", figures.decision.outcome, judge, who, ("failed", "passed"))
    criteria = [_lesson(key, figures.names[key], comparison, judge, who, ("said NO", "said YES")) for key, comparison in figures.decision.criteria.items()]
    return [outcome, *sorted(criteria, key=lambda lesson: ORDER.index(lesson.kind))]


def _lesson(key: str, name: str, comparison: HumanComparison, judge: str, who: str, words: tuple[str, str]) -> Lesson:
    """Return the lesson about a criterion; words: what the judge or the person did in a failure and in a pass."""
    agreement, about = comparison.agreement, name if key == "outcome" else f"{key} ({name})"
    strict, lenient = _complement(agreement.true_negative_rate), _complement(agreement.true_positive_rate)
    harsh, mild, (failed, passed) = _count(strict), _count(lenient), words
    strictly = f"{failed} where {who} {passed} in {harsh} of {strict.n}{_percent(strict)}" if strict.n else f"{who} {passed} nowhere"
    mildly = f"{passed} where {who} {failed} in {mild} of {lenient.n}{_percent(lenient)}" if lenient.n else f"{who} {failed} nowhere"
    same = f"the same answer in {_count(agreement.raw)} of {agreement.raw.n}{_percent(agreement.raw)}"
    low, high = agreement.raw.interval or (0.0, 1.0)
    kind: Kind
    if not agreement.raw.n:
        kind, text = "no label", f"no conversation has both a label for {about} and a usable answer of {judge}."
    elif mcnemar_p(harsh, mild) < ALPHA:
        kind, (first, second) = ("too strict", (strictly, mildly)) if harsh > mild else ("too lenient", (mildly, strictly))
        text = f"{judge} is {kind} on {about}: it {first}, and {second}."
    elif high < GOOD:
        kind, text = (
            "often differs",
            f"{judge} and {who} often differ on {about}: {same}; it {strictly}, and {mildly}.{_na_differences(agreement.raw, harsh + mild)}",
        )
        text += " Read the criterion again."
    elif low >= GOOD:
        unknown = f" Only {lenient.n} failed, too few to say whether {judge} finds failures." if lenient.n < MIN_FAILURES else ""
        kind, text = "agrees", f"{judge} and {who} agree on {about}: {same}.{unknown}"
    else:
        kind, text = "too few to say", f"too few to say of {about}: {same}; {judge} {strictly}, and {mildly}."
    return Lesson(key, name, kind, text[0].upper() + text[1:], strict, lenient, agreement.raw, agreement.kappa)


def _complement(share: Estimate) -> Estimate:
    """Return 1 minus a share, with its interval."""
    value, interval = share.value, share.interval
    reverse = None if interval is None else (1 - interval[1], 1 - interval[0])
    return Estimate(None if value is None else 1 - value, share.n, reverse, share.reason, share.warning)


def _na_differences(same: Estimate, counted: int) -> str:
    """Return a sentence on the differences between NA and YES or, if the rubric does not allow NA, between NA and NO; such answers count the same.

    Args:
        same: share of equal answers.
        counted: number of differences between a pass and a failure.
    """
    rest = same.n - _count(same) - counted
    return f" In {rest} the answers differ but count the same, because one is NA." if rest else ""


def _count(share: Estimate) -> int:
    return 0 if share.value is None else round(share.value * share.n)


def _percent(share: Estimate) -> str:
    return f" (95 % interval {100 * share.interval[0]:.0f} to {100 * share.interval[1]:.0f} %)" if share.interval else ""


def between_people(labels: Mapping[str, Labels], rubric: Rubric) -> tuple[list[TwoPeople], list[Dispute]]:
    """Return the agreement of each two people, and the answers in which people differ, in the order of the transcripts and the rubric.

    Args:
        labels: each person's labels.
    """
    pairs = []
    for one, other in combinations(labels, 2):
        both = {
            name: {
                transcript: {one: labels[one].answers[transcript][name], other: labels[other].answers[transcript][name]}
                for transcript in labels[one].answers
                if name in labels[one].answers[transcript] and name in labels[other].answers.get(transcript, {})
            }
            for name in rubric.criteria
        }
        each = [tuple(answers.values()) for by_transcript in both.values() for answers in by_transcript.values()]
        if not each:
            continue
        equal = sum(first == second for first, second in each)
        agreement = pair_agreements({name: answers for name, answers in both.items() if answers}, RESAMPLES, FEW)[0]
        pairs.append(TwoPeople((one, other), equal, len(each), agreement, _people_sentence(one, other, equal, len(each), agreement.kappa)))
    return pairs, _disputes(labels, rubric)


def _people_sentence(one: str, other: str, equal: int, answers: int, kappa: Estimate) -> str:
    counts = f"{one} and {other} gave the same answer in {equal} of {answers} that both gave"
    if kappa.value is None or kappa.interval is None:
        return f"{counts}; kappa cannot be computed: {kappa.reason}."
    interval = f"95 % interval {kappa.interval[0]:.2f} to {kappa.interval[1]:.2f}, over {kappa.n} conversations"
    few = " Few conversations: only an indication." if kappa.warning else ""
    return f"{counts}: kappa {kappa.value:.2f} ({interval}).{few}"


def _disputes(labels: Mapping[str, Labels], rubric: Rubric) -> list[Dispute]:
    transcripts = dict.fromkeys(transcript for own in labels.values() for transcript in own.answers)
    disputes = []
    for transcript in transcripts:
        for name in rubric.criteria:
            answers = {person: own.answers[transcript][name] for person, own in labels.items() if name in own.answers.get(transcript, {})}
            if len(set(answers.values())) > 1:
                reasoned = {person: (answer.value, labels[person].reasons.get(transcript, {}).get(name, "")) for person, answer in answers.items()}
                disputes.append(Dispute(transcript, name, reasoned))
    return disputes
