"""What people's labels say of a judge, in plain words: where it is too strict, where too lenient, and where there are too few labels to say."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

from core.evaluation.paired_statistics import mcnemar_p
from core.judging.agreement import PairAgreement, overall_agreement
from core.judging.label_statistics import FEW, RESAMPLES, Estimate
from core.judging.review import HumanComparison, ReviewFigures
from core.judging.review_sheet import Labels
from core.packs.pack import Rubric

ALPHA = 0.05
"""Chance of so one-sided errors, were the judge as often too strict as too lenient, below which they are not put down to chance. Criteria are looked at one by
one, to be read again by a person, so nothing is adjusted for their number."""
GOOD = 0.8
"""Share of equal answers that a judge must be shown to reach, or shown to miss."""
FEW_FAILURES = 5
"""Failures below which agreement says nothing of whether a judge finds them."""

Kind = Literal["too strict", "too lenient", "often differs", "agrees", "too few to say", "no label"]
ORDER: tuple[Kind, ...] = ("too strict", "too lenient", "often differs", "agrees", "too few to say", "no label")


@dataclass(frozen=True)
class Lesson:
    """What is learnt of the judge on one criterion, or on the outcome.

    Args:
        strict: of what the person passed, the share that the judge failed; lenient: of what the person failed, the share that it passed.
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
    """Two people beside each other, over all criteria that both answered.

    Args:
        same, answers: equal answers, and all that both gave.
    """

    people: tuple[str, str]
    same: int
    answers: int
    agreement: PairAgreement
    sentence: str


@dataclass(frozen=True)
class Dispute:
    """An answer in which people differ: what each said, and why."""

    transcript: str
    criterion: str
    answers: dict[str, tuple[str, str]]


def lessons(figures: ReviewFigures, judge: str = "the judge", who: str = "you") -> list[Lesson]:
    """Return what is learnt of the decided answers, the outcome first, then the criteria, what is to be read again before what is well.

    Args:
        judge: what decided, in words; who: the person, as the subject of a sentence.
    """
    outcome = _lesson("outcome", "the whole conversation", figures.decision.outcome, judge, who, ("failed", "passed"))
    criteria = [_lesson(key, figures.names[key], beside, judge, who, ("said NO", "said YES")) for key, beside in figures.decision.criteria.items()]
    return [outcome, *sorted(criteria, key=lambda one: ORDER.index(one.kind))]


def _lesson(key: str, name: str, beside: HumanComparison, judge: str, who: str, words: tuple[str, str]) -> Lesson:
    found, about = beside.agreement, name if key == "outcome" else f"{key} ({name})"
    strict, lenient = _other(found.true_negative_rate), _other(found.true_positive_rate)
    harsh, mild, (failed, passed) = _count(strict), _count(lenient), words
    strictly = f"{failed} where {who} {passed} in {harsh} of {strict.n}{_percent(strict)}" if strict.n else f"{who} {passed} nowhere"
    mildly = f"{passed} where {who} {failed} in {mild} of {lenient.n}{_percent(lenient)}" if lenient.n else f"{who} {failed} nowhere"
    same = f"the same answer in {_count(found.raw)} of {found.raw.n}{_percent(found.raw)}"
    low, high = found.raw.interval or (0.0, 1.0)
    kind: Kind
    if not found.raw.n:
        kind, said = "no label", f"no label of {about} stands beside a usable answer of {judge}."
    elif mcnemar_p(harsh, mild) < ALPHA:
        kind, (first, second) = ("too strict", (strictly, mildly)) if harsh > mild else ("too lenient", (mildly, strictly))
        said = f"{judge} is {kind} on {about}: it {first}, and {second}."
    elif high < GOOD:
        kind, said = "often differs", f"{judge} and {who} often differ on {about}: {same}; it {strictly}, and {mildly}.{_other_ways(found.raw, harsh + mild)}"
        said += " Read the criterion again."
    elif low >= GOOD:
        unknown = f" Only {lenient.n} failed, so whether {judge} finds failures is too few to say." if lenient.n < FEW_FAILURES else ""
        kind, said = "agrees", f"{judge} and {who} agree on {about}: {same}.{unknown}"
    else:
        kind, said = "too few to say", f"too few to say of {about}: {same}; {judge} {strictly}, and {mildly}."
    return Lesson(key, name, kind, said[0].upper() + said[1:], strict, lenient, found.raw, found.kappa)


def _other(share: Estimate) -> Estimate:
    """Return the rest of a share."""
    value, interval = share.value, share.interval
    other = None if interval is None else (1 - interval[1], 1 - interval[0])
    return Estimate(None if value is None else 1 - value, share.n, other, share.reason, share.warning)


def _other_ways(same: Estimate, counted: int) -> str:
    """Say in how many the difference is one of NA and of YES, or of NO where the rubric does not allow NA, which count the same."""
    rest = same.n - _count(same) - counted
    return f" In {rest} the answers differ and count the same, because one is NA." if rest else ""


def _count(share: Estimate) -> int:
    return 0 if share.value is None else round(share.value * share.n)


def _percent(share: Estimate) -> str:
    return f" (95 % interval {100 * share.interval[0]:.0f} to {100 * share.interval[1]:.0f} %)" if share.interval else ""


def between_people(labels: Mapping[str, Labels], rubric: Rubric) -> tuple[list[TwoPeople], list[Dispute]]:
    """Return how far each two people agree, and each answer in which people differ, in the order of the transcripts and the rubric.

    Args:
        labels: by person.
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
        equal, found = sum(first == second for first, second in each), overall_agreement({name: some for name, some in both.items() if some}, RESAMPLES, FEW)
        pairs.append(TwoPeople((one, other), equal, len(each), found.pairs[0], _people_sentence(one, other, equal, len(each), found.pairs[0].kappa)))
    return pairs, _disputes(labels, rubric)


def _people_sentence(one: str, other: str, equal: int, answers: int, kappa: Estimate) -> str:
    said = f"{one} and {other} gave the same answer in {equal} of {answers} that both gave"
    if kappa.value is None or kappa.interval is None:
        return f"{said}; kappa cannot be had: {kappa.reason}."
    interval = f"95 % interval {kappa.interval[0]:.2f} to {kappa.interval[1]:.2f}, over {kappa.n} conversations"
    few = " Few conversations: an indication, no more." if kappa.warning else ""
    return f"{said}: kappa {kappa.value:.2f} ({interval}).{few}"


def _disputes(labels: Mapping[str, Labels], rubric: Rubric) -> list[Dispute]:
    transcripts = dict.fromkeys(transcript for own in labels.values() for transcript in own.answers)
    found = []
    for transcript in transcripts:
        for name in rubric.criteria:
            given = {person: own.answers[transcript][name] for person, own in labels.items() if name in own.answers.get(transcript, {})}
            if len(set(given.values())) > 1:
                said = {person: (answer.value, labels[person].reasons.get(transcript, {}).get(name, "")) for person, answer in given.items()}
                found.append(Dispute(transcript, name, said))
    return found
