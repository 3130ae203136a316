"""The results of a sample's labels: each person compared with the judge, people compared with each other, and an evaluation's decision with labels."""

from dataclasses import dataclass, field

from core.errors import ReviewError
from core.escaping import Markdown
from core.evaluation.decision import Decided
from core.evaluation.labelled import by_labels
from core.judging.golden_review import OWN, golden_files, keep_golden
from core.judging.labels import labels_of, people, read_sample
from core.judging.review import compare_labels
from core.packs.pack import Pack
from core.reports.learnt import Dispute, Lesson, TwoPeople, between_people, lessons
from core.reports.render import review_markdown
from core.reports.review_files import GOLDEN_JUDGE, coded_of, is_evaluation, judged_of, with_evaluation
from core.storage.store import Store


@dataclass(frozen=True)
class ArmWithLabels:
    """The decision on an arm by the judge alone (`before`), and with a person's labels (`decided`)."""

    arm: str
    before: Decided
    decided: Decided


@dataclass(frozen=True)
class PersonLearnt:
    """The results of one person's labels.

    Args:
        labelled: number of labels.
        lessons: what the labels say about the judge, in words.
        report: the figures, as Markdown.
        arms: the decisions of an evaluation; empty for other samples.
        whole: numbers of the conversations in which every criterion that applies is labelled.
        golden: those of `whole` that are already golden conversations.
    """

    person: str
    labelled: int
    lessons: list[Lesson]
    report: Markdown
    arms: list[ArmWithLabels] = field(default_factory=list)
    whole: list[int] = field(default_factory=list)
    golden: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class LearntPage:
    """The results of a sample.

    Args:
        judge: the judge, in words.
        people: the results of each person.
        pairs: comparisons of each two people.
        disputes: answers in which people differ.
        numbers: number of each conversation, by the transcript's id.
        names: name of each criterion, by its id.
    """

    judge: str
    people: list[PersonLearnt]
    pairs: list[TwoPeople]
    disputes: list[Dispute]
    numbers: dict[str, int]
    names: dict[str, str]


def learnt_page(store: Store, pack: Pack, name: str, you: str = "") -> LearntPage:
    """Return the results of a sample's labels.

    Args:
        name: name of the sample.
        you: name of the reader, who is addressed as "you"; empty for none.

    Raises:
        ReviewError: the batch was judged again by another rubric.
    """
    sample = read_sample(store, name)
    judged = judged_of(store, pack.rubric, sample.source)
    labels = {person: own for person in people(store, name) if (own := labels_of(store, name, person, pack.rubric)).answers}
    coded = coded_of(store, sample.source, pack.rubric) if is_evaluation(sample.source) else None
    judge = GOLDEN_JUDGE if sample.kind == "golden" else "the judge"
    numbers = {transcript: number for number, transcript in enumerate(sample.transcripts, 1)}
    existing = {path.stem for path in store.local(f"{OWN}/{pack.name}/x").parent.glob("*.yaml")} if store.is_local else set()
    results = []
    for person, own in labels.items():
        figures = compare_labels(own, judged, pack.rubric)
        drawn = lessons(figures, judge, "you" if person == you else person)
        report = review_markdown(figures, person=person)
        evaluated = by_labels(coded[0], sample.source, coded[1], own, pack.rubric) if coded else None
        files, _ = golden_files(own, judged, pack.rubric, sample.source)
        titles = {file.title: stem for stem, file in files.items()} if sample.kind != "golden" else {}
        results.append(
            PersonLearnt(
                person=person,
                labelled=figures.labels,
                lessons=drawn,
                report=with_evaluation(report, evaluated) if evaluated else report,
                arms=[ArmWithLabels(arm, one.before.decided, one.decided) for arm, one in evaluated.arms.items()] if evaluated else [],
                whole=sorted(numbers[title] for title in titles),
                golden=[numbers[title] for title, stem in titles.items() if stem in existing],
            )
        )
    pairs, disputes = between_people(labels, pack.rubric)
    return LearntPage(judge, results, pairs, disputes, numbers, {key: item.head.name for key, item in pack.rubric.criteria.items()})


def make_golden(store: Store, pack: Pack, name: str, person: str, number: int) -> str:
    """Make a golden conversation from a person's labels, and return its path below the data root; an existing file is kept.

    The second opinion in the file is that of another person who labelled the whole conversation, or else the judge's.

    Args:
        name: name of the sample.
        number: number of the conversation in the sample, from 1.

    Raises:
        ReviewError: the conversation cannot be a golden one; the message says why.
    """
    sample = read_sample(store, name)
    transcript = sample.transcripts[number - 1]
    if sample.kind == "golden":
        raise ReviewError("This conversation is already in the golden set. Change its file there.")
    judged = [item for item in judged_of(store, pack.rubric, sample.source) if item.transcript.id == transcript]
    others = {other: labels_of(store, name, other, pack.rubric) for other in people(store, name) if other != person}
    second = {other: own for other, own in others.items() if not any(missing == transcript for missing, _ in own.unlabelled)}
    files, skipped = golden_files(labels_of(store, name, person, pack.rubric), judged, pack.rubric, sample.source, dict(list(second.items())[:1]))
    if not files:
        raise ReviewError(f"Conversation {number} cannot be a golden one: {skipped.get(transcript, 'it has no label')}. Label all of it first.")
    keep_golden(files, store.local(f"{OWN}/{pack.name}/x").parent)
    return f"{OWN}/{pack.name}/{next(iter(files))}.yaml"
