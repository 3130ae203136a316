"""The pages for labels: what can be labelled, a conversation with its criteria, and each person's progress."""

from collections.abc import Sequence
from dataclasses import dataclass

from core.evaluation.attempts import FILE
from core.evaluation.attempts import FOLDER as EVALUATIONS
from core.judging.golden import golden_folder
from core.judging.labels import Given, Progress, Sample, allowed, conversation, people, progress, read_labels, read_sample, samples
from core.judging.scoring import applicable
from core.packs.pack import Pack, load_pack
from core.packs.places import domains
from core.records import AssessmentBatch, Exchange
from core.storage.store import Store


@dataclass(frozen=True)
class Source:
    """A batch, evaluation or golden set from which a sample can be drawn.

    Args:
        name: its name, as `core.reports.review_files.draw_sample` takes it.
        words: its description for the user.
    """

    domain: str
    name: str
    words: str


@dataclass(frozen=True)
class SampleRow:
    """A sample, with each person's progress."""

    name: str
    sample: Sample
    people: list[Progress]

    @property
    def words(self) -> str:
        """A description of the sample."""
        return source_words(self.sample)


@dataclass(frozen=True)
class CriterionCard:
    """A criterion, with a person's answer to it.

    Args:
        text: the rules of the criterion, as Markdown.
        answers: the allowed answers.
        given: the person's answer and reason.
    """

    id: str
    name: str
    text: str
    gate: bool
    answers: tuple[str, ...]
    given: Given


@dataclass(frozen=True)
class LabelPage:
    """A conversation for a person to label. The page reveals neither other verdicts nor the arm.

    Args:
        number: number of the conversation, from 1.
        of: number of conversations in the sample.
        whole: for each conversation's number, whether the person has answered every criterion.
    """

    name: str
    words: str
    domain: str
    person: str
    number: int
    of: int
    opening: str | None
    exchanges: list[Exchange]
    criteria: list[CriterionCard]
    whole: dict[int, bool]

    @property
    def answered(self) -> int:
        """Number of criteria with an answer."""
        return sum(card.given.answer is not None for card in self.criteria)

    @property
    def finished(self) -> bool:
        """Whether the person has answered every criterion of every conversation."""
        return all(self.whole.values())

    @property
    def next_open(self) -> int | None:
        """Number of the next incomplete conversation, first after this one and then from the start; None if all others are complete."""
        order = [*range(self.number + 1, self.of + 1), *range(1, self.number)]
        return next((number for number in order if not self.whole[number]), None)


def source_words(sample: Sample) -> str:
    """Return a description of a sample."""
    sources = {
        "batch": f"the batch {sample.source.rpartition('/')[2].removesuffix('.json')}",
        "evaluation": f"the evaluation {sample.source.rpartition('/')[2]}, blind to the arm",
        "golden": f"the golden set of {sample.domain}",
    }
    return f"{len(sample.transcripts)} conversations of {sources[sample.kind]}"


def label_sources(store: Store) -> list[Source]:
    """Return what samples can be drawn from: batches of assessments, evaluations, and golden sets, sorted by domain."""
    batches, _ = store.load_all(store.names("batches", ".json", "assessments-"), AssessmentBatch)
    sources = [
        Source(batch.domain, name, f"{len(batch.assessments)} judged conversations, {name.rpartition('/')[2].removesuffix('.json')}")
        for name, batch in batches.items()
        if batch.assessments
    ]
    for domain in domains():
        for folder in store.names(EVALUATIONS, beginning=f"{domain}-"):
            if store.exists(f"{folder}/{FILE}"):
                sources.append(Source(domain, folder, f"evaluation {folder.rpartition('/')[2]}, blind to the arm"))
        if any(golden_folder(load_pack(domain)).glob("*.yaml")):
            sources.append(Source(domain, f"golden/{domain}", "the golden set"))
    return sorted(sources, key=lambda source: source.domain)


def sample_rows(store: Store) -> list[SampleRow]:
    """Return every sample whose domain still exists, with each person's progress."""
    return [sample_row(store, name) for name, sample in samples(store).items() if sample.domain in domains()]


def sample_row(store: Store, name: str) -> SampleRow:
    """Return a sample with each person's progress."""
    sample = read_sample(store, name)
    rubric = load_pack(sample.domain).rubric
    return SampleRow(name, sample, [progress(store, name, person, rubric) for person in people(store, name)])


def label_page(store: Store, pack: Pack, name: str, person: str, number: int) -> LabelPage:
    """Return a conversation with the criteria that apply to it and the person's answers.

    Args:
        name: name of the sample.
        person: name of the person.
        number: number of the conversation in the sample, from 1.

    Raises:
        ReviewError: there is no such sample, or the person's name is not valid.
        StoreError: there is no such conversation.
    """
    sample, shown = read_sample(store, name), conversation(store, name, number)
    labels = read_labels(store, name, person, shown.id)
    cards = [
        CriterionCard(item.id, item.head.name, item.text, item.head.gate, allowed(item), labels.given.get(item.id, Given()))
        for item in applicable(pack.rubric, len(shown.exchanges))
    ]
    return LabelPage(
        name=name,
        words=source_words(sample),
        domain=sample.domain,
        person=labels.person,
        number=number,
        of=len(sample.transcripts),
        opening=shown.opening,
        exchanges=list(shown.exchanges),
        criteria=cards,
        whole=completion(store, pack, name, person, sample),
    )


def completion(store: Store, pack: Pack, name: str, person: str, sample: Sample) -> dict[int, bool]:
    """Return, for each conversation's number, whether a person has answered every criterion that applies."""
    complete = {}
    for number, (transcript, length) in enumerate(zip(sample.transcripts, sample.lengths, strict=True), 1):
        answers = read_labels(store, name, person, transcript).given
        complete[number] = all(answers.get(item.id, Given()).answer for item in applicable(pack.rubric, length))
    return complete


def first_open(store: Store, pack: Pack, name: str, person: str) -> int:
    """Return the number of the first conversation that a person has not completed, or 1 if there is none."""
    return next((number for number, done in completion(store, pack, name, person, read_sample(store, name)).items() if not done), 1)


def of_old_rubric(sample: Sample, pack: Pack) -> bool:
    """Return whether the rubric has changed since a sample was drawn."""
    return sample.rubric_hash != pack.rubric.hash


def unfinished(row: SampleRow) -> Sequence[str]:
    """Return the people who have not answered everything. The results would reveal the judge's verdicts to them."""
    return [one.person for one in row.people if not one.done]
