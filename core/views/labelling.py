"""What the pages of labels show: what can be labelled, a conversation beside its criteria, and what was learnt."""

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
    """Something of which a sample can be drawn.

    Args:
        name: as `core.reports.review_files.draw_sample` takes it.
        words: for people.
    """

    domain: str
    name: str
    words: str


@dataclass(frozen=True)
class SampleRow:
    """A sample, and how far its people are."""

    name: str
    sample: Sample
    people: list[Progress]

    @property
    def words(self) -> str:
        """What it is a sample of."""
        return source_words(self.sample)


@dataclass(frozen=True)
class CriterionCard:
    """A criterion with a person's answer to it.

    Args:
        text: its rules, as Markdown.
        answers: that it allows.
    """

    id: str
    name: str
    text: str
    gate: bool
    answers: tuple[str, ...]
    given: Given


@dataclass(frozen=True)
class LabelPage:
    """A conversation for a person to label; it tells neither who said what of it nor which arm's it is.

    Args:
        number: of the conversation, from 1; of: how many there are.
        whole: by number, whether the person has answered everything.
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
        """How many criteria have an answer."""
        return sum(card.given.answer is not None for card in self.criteria)

    @property
    def finished(self) -> bool:
        """Whether the person has answered everything of every conversation."""
        return all(self.whole.values())

    @property
    def next_open(self) -> int | None:
        """Number of the next conversation that is not whole, after this one first."""
        order = [*range(self.number + 1, self.of + 1), *range(1, self.number)]
        return next((number for number in order if not self.whole[number]), None)


def source_words(sample: Sample) -> str:
    """Say what a sample is of."""
    what = {
        "batch": f"the batch {sample.source.rpartition('/')[2].removesuffix('.json')}",
        "evaluation": f"the evaluation {sample.source.rpartition('/')[2]}, blind to the arm",
        "golden": f"the golden set of {sample.domain}",
    }
    return f"{len(sample.transcripts)} conversations of {what[sample.kind]}"


def label_sources(store: Store) -> list[Source]:
    """Return what samples can be drawn of: batches of assessments, evaluations, and golden sets of the domains that have one."""
    batches, _ = store.load_all(store.names("batches", ".json", "assessments-"), AssessmentBatch)
    found = [
        Source(batch.domain, name, f"{len(batch.assessments)} judged conversations, {name.rpartition('/')[2].removesuffix('.json')}")
        for name, batch in batches.items()
        if batch.assessments
    ]
    for domain in domains():
        for folder in store.names(EVALUATIONS, beginning=f"{domain}-"):
            if store.exists(f"{folder}/{FILE}"):
                found.append(Source(domain, folder, f"evaluation {folder.rpartition('/')[2]}, blind to the arm"))
        if any(golden_folder(load_pack(domain)).glob("*.yaml")):
            found.append(Source(domain, f"golden/{domain}", "the golden set"))
    return sorted(found, key=lambda source: source.domain)


def sample_rows(store: Store) -> list[SampleRow]:
    """Return every sample whose domain is there, with its people."""
    return [sample_row(store, name) for name, sample in samples(store).items() if sample.domain in domains()]


def sample_row(store: Store, name: str) -> SampleRow:
    """Return a sample with its people."""
    sample = read_sample(store, name)
    rubric = load_pack(sample.domain).rubric
    return SampleRow(name, sample, [progress(store, name, person, rubric) for person in people(store, name)])


def label_page(store: Store, pack: Pack, name: str, person: str, number: int) -> LabelPage:
    """Return a conversation beside the criteria that apply to it, with what the person has answered.

    Raises:
        ReviewError: there is no such sample, or the name is none for a person.
        StoreError: there is no such conversation.
    """
    sample, shown = read_sample(store, name), conversation(store, name, number)
    given = read_labels(store, name, person, shown.id)
    cards = [
        CriterionCard(item.id, item.head.name, item.text, item.head.gate, allowed(item), given.given.get(item.id, Given()))
        for item in applicable(pack.rubric, len(shown.exchanges))
    ]
    return LabelPage(
        name=name,
        words=source_words(sample),
        domain=sample.domain,
        person=given.person,
        number=number,
        of=len(sample.transcripts),
        opening=shown.opening,
        exchanges=list(shown.exchanges),
        criteria=cards,
        whole=whole(store, pack, name, person, sample),
    )


def whole(store: Store, pack: Pack, name: str, person: str, sample: Sample) -> dict[int, bool]:
    """Say of each conversation by its number whether a person has answered every criterion that applies."""
    found = {}
    for number, (transcript, length) in enumerate(zip(sample.transcripts, sample.lengths, strict=True), 1):
        given = read_labels(store, name, person, transcript).given
        found[number] = all(given.get(item.id, Given()).answer for item in applicable(pack.rubric, length))
    return found


def first_open(store: Store, pack: Pack, name: str, person: str) -> int:
    """Return the number of the first conversation that a person has not answered whole, or 1."""
    return next((number for number, done in whole(store, pack, name, person, read_sample(store, name)).items() if not done), 1)


def of_old_rubric(sample: Sample, pack: Pack) -> bool:
    """Say whether the rubric has changed since a sample was drawn."""
    return sample.rubric_hash != pack.rubric.hash


def unfinished(row: SampleRow) -> Sequence[str]:
    """Return who has not answered everything, whom the results would tell what the judge said."""
    return [one.person for one in row.people if not one.done]
