"""Labels that people give one by one: a sample that several people read, and a small file for each person and conversation.

Two people never write the same file, a file is whole or not there, and an answer is on the disk before its person sees that it is kept.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal
from unicodedata import normalize

from pydantic import Field

from core.errors import ReviewError
from core.fingerprint import fingerprint
from core.judging.review_sheet import Labels
from core.judging.scoring import applicable
from core.packs.pack import Criterion, Rubric
from core.records import Answer, DomainName, Judged, Record, Transcript
from core.storage.locks import locked
from core.storage.store import Store

FOLDER, SAMPLE_FILE, CONVERSATIONS = "labels", "sample.json", "conversations"
"""Below the data root; in a sample's folder, what it is, and its conversations without anything that tells how they were made."""
LONGEST_NAME, LONGEST_REASON = 60, 4_000
"""Characters of a person's name, and of what a person writes about one criterion."""
KEPT_CHANGES = 50
"""Of a conversation, that can be undone."""
WAIT_SECONDS = 10.0
"""For another answer of the same person on the same conversation, which takes milliseconds."""

SourceKind = Literal["batch", "evaluation", "golden"]


class Sample(Record):
    """Conversations that people label.

    Args:
        source: the batch of assessments, the evaluation's folder, or `golden/<domain>`, that they were drawn from.
        transcripts: their ids in the order of reading; of an evaluation codes, which do not tell the arm.
        lengths: exchanges of each.
    """

    domain: DomainName
    kind: SourceKind
    source: str
    rubric_hash: str
    transcripts: list[str] = Field(min_length=1)
    lengths: list[int]


class Given(Record):
    """What a person says of one criterion; without an answer, only a reason is there."""

    answer: Literal["YES", "NO", "NA"] | None = None
    reason: str = ""


class Change(Record):
    """What stood before a change."""

    criterion: str
    before: Given


class PersonLabels(Record):
    """What a person says of a conversation.

    Args:
        person: the name, as it was written.
        note: on the whole conversation, from a sheet.
        changes: of answers, the latest last.
    """

    person: str
    transcript: str
    note: str = ""
    given: dict[str, Given] = Field(default_factory=dict)
    changes: list[Change] = Field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """How far a person is: answers given and due, and conversations in which every one is given."""

    person: str
    answers: int
    due: int
    whole: int
    conversations: int

    @property
    def done(self) -> bool:
        """Whether nothing is missing."""
        return self.answers == self.due


def check_person(name: str) -> str:
    """Return a person's name, as it is kept.

    Raises:
        ReviewError: it is empty, too long, or not printable.
    """
    plain = " ".join(normalize("NFC", name).split())
    if not plain or len(plain) > LONGEST_NAME or not plain.isprintable() or "/" in plain or plain.strip(".") == "":
        raise ReviewError(
            f"{plain[:60]!r} is not a valid name for labels. Allowed: 1 to {LONGEST_NAME} printable characters, without a slash. Write your name."
        )
    return plain


def person_key(name: str) -> str:
    """Return the name as a part of a path; case does not make another person."""
    folded = check_person(name).casefold()
    plain = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:40]
    return plain if plain == folded else f"{plain}-{fingerprint(folded)[:6]}".strip("-")


def keep_sample(store: Store, name: str, made: Sample, chosen: Sequence[Judged]) -> str:
    """Keep a sample with its conversations under a name; one that is there already is left as it is, with its labels."""
    if not store.exists(f"{FOLDER}/{name}/{SAMPLE_FILE}"):
        for number, item in enumerate(chosen, 1):
            blind = Transcript(id=item.transcript.id, exchanges=item.transcript.exchanges, opening=item.transcript.opening)
            store.write_json(f"{FOLDER}/{name}/{CONVERSATIONS}/{number}.json", blind)
        store.write_json(f"{FOLDER}/{name}/{SAMPLE_FILE}", made)
    return name


def read_sample(store: Store, name: str) -> Sample:
    """Return a sample.

    Raises:
        ReviewError: there is none of this name.
    """
    if "/" in name or not store.exists(f"{FOLDER}/{name}/{SAMPLE_FILE}"):
        raise ReviewError(f"{name[:80]!r} is not a label sample in {store.root}/{FOLDER}. Draw one on the studio's page of labels.")
    return store.load(f"{FOLDER}/{name}/{SAMPLE_FILE}", Sample)


def samples(store: Store) -> dict[str, Sample]:
    """Return all samples by name; what cannot be read is left out."""
    names = [f"{folder}/{SAMPLE_FILE}" for folder in store.names(FOLDER) if store.exists(f"{folder}/{SAMPLE_FILE}")]
    found, _ = store.load_all(names, Sample)
    return {name.split("/")[1]: sample for name, sample in found.items()}


def conversation(store: Store, name: str, number: int) -> Transcript:
    """Return a conversation of a sample by its number, which begins with 1."""
    return store.load(f"{FOLDER}/{name}/{CONVERSATIONS}/{number}.json", Transcript)


def people(store: Store, name: str) -> list[str]:
    """Return who has labelled in a sample, by name, sorted."""
    folders = [folder for folder in store.names(f"{FOLDER}/{name}/people") if store.names(folder, ".json")]
    first = [store.names(folder, ".json")[0] for folder in folders]
    return sorted(found.person for found in store.load_all(first, PersonLabels)[0].values())


def read_labels(store: Store, name: str, person: str, transcript: str) -> PersonLabels:
    """Return what a person said of a conversation; nothing yet, where nothing was said."""
    place = _place(name, person, transcript)
    return store.load(place, PersonLabels) if store.exists(place) else PersonLabels(person=check_person(person), transcript=transcript)


def give(store: Store, name: str, person: str, number: int, criterion: Criterion, given: Given) -> PersonLabels:
    """Keep what a person says of a criterion, and return all that the person said of the conversation.

    Raises:
        ReviewError: there is no such conversation, or the criterion does not allow the answer.
        StoreError: it cannot be kept.
    """
    sample = read_sample(store, name)
    if not 1 <= number <= len(sample.transcripts):
        raise ReviewError(f"There is no conversation {number}. Allowed: 1 to {len(sample.transcripts)}.")
    head, length = criterion.head, sample.lengths[number - 1]
    if head.from_exchange > length:
        raise ReviewError(f"{head.id} applies from exchange {head.from_exchange} on; this conversation has {length}. Leave it without an answer.")
    if given.answer == "NA" and head.na == "never":
        raise ReviewError(f"{head.id} never allows NA. Answer YES or NO.")
    if len(given.reason) > LONGEST_REASON:
        raise ReviewError(f"The reason has {len(given.reason):,} characters; {LONGEST_REASON:,} are allowed. Shorten it.")
    return _change(store, name, person, sample.transcripts[number - 1], lambda said: _with(said, head.id, given))


def undo(store: Store, name: str, person: str, number: int) -> PersonLabels:
    """Take a person's last change in a conversation back; nothing happens where there is none."""
    sample = read_sample(store, name)
    return _change(store, name, person, sample.transcripts[number - 1], _without_last)


def labels_of(store: Store, name: str, person: str, rubric: Rubric) -> Labels:
    """Return a person's labels on a sample; a reason stands with its criterion, and all of a conversation's together as its note."""
    sample, labels = read_sample(store, name), Labels({}, {}, [])
    for transcript, length in zip(sample.transcripts, sample.lengths, strict=True):
        kept = read_labels(store, name, person, transcript)
        given = kept.given
        for criterion in applicable(rubric, length):
            said = given.get(criterion.id, Given())
            if said.answer is None:
                labels.unlabelled.append((transcript, criterion.id))
            else:
                labels.answers.setdefault(transcript, {})[criterion.id] = Answer(said.answer)
            if said.reason.strip():
                labels.reasons.setdefault(transcript, {})[criterion.id] = said.reason.strip()
        reasons = [f"{criterion}: {' '.join(reason.split())}" for criterion, reason in labels.reasons.get(transcript, {}).items()]
        if note := " ".join([kept.note, *reasons]).strip():
            labels.notes[transcript] = note
    return labels


def take_labels(store: Store, name: str, person: str, labels: Labels, rubric: Rubric) -> int:
    """Keep the labels of a sheet as a person's, and return how many answers that are; what the sheet says nothing of stays as it is.

    Raises:
        ReviewError: the sheet is of other conversations.
    """
    sample = read_sample(store, name)
    if strange := sorted({*labels.answers, *labels.notes} - set(sample.transcripts)):
        raise ReviewError(f"The sheet has labels on {strange[0]!r:.80}, which is not in the sample {name}. Give the sheet of this sample.")

    def taken(said: PersonLabels, transcript: str) -> PersonLabels:
        for criterion in (one for one in rubric.criteria if one in labels.answers.get(transcript, {})):
            before = said.given.get(criterion, Given())
            reason = labels.reasons.get(transcript, {}).get(criterion, before.reason)
            said = _with(said, criterion, Given.model_validate({"answer": labels.answers[transcript][criterion].value, "reason": reason}))
        return said.model_copy(update={"note": labels.notes.get(transcript, said.note)})

    for transcript in labels.answers:
        _change(store, name, person, transcript, lambda said, transcript=transcript: taken(said, transcript))
    return sum(map(len, labels.answers.values()))


def progress(store: Store, name: str, person: str, rubric: Rubric) -> Progress:
    """Return how far a person is with a sample."""
    sample, labels = read_sample(store, name), labels_of(store, name, person, rubric)
    left = {transcript for transcript, _ in labels.unlabelled}
    answers = sum(map(len, labels.answers.values()))
    return Progress(check_person(person), answers, answers + len(labels.unlabelled), len(sample.transcripts) - len(left), len(sample.transcripts))


def allowed(criterion: Criterion) -> tuple[str, ...]:
    """Return the answers that a criterion allows."""
    return ("YES", "NO", "NA") if criterion.head.na == "allowed" else ("YES", "NO")


def _place(name: str, person: str, transcript: str) -> str:
    return f"{FOLDER}/{name}/people/{person_key(person)}/{fingerprint(transcript)}.json"


def _change(store: Store, name: str, person: str, transcript: str, change: Callable[[PersonLabels], PersonLabels]) -> PersonLabels:
    """Change what a person said of a conversation; the same person in another window waits."""
    place = _place(name, person, transcript)
    with locked(store, place.removesuffix(".json"), WAIT_SECONDS):
        said = change(read_labels(store, name, person, transcript))
        store.write_json(place, said)
    return said


def _with(said: PersonLabels, criterion: str, given: Given) -> PersonLabels:
    before = said.given.get(criterion, Given())
    changes = [*said.changes, Change(criterion=criterion, before=before)][-KEPT_CHANGES:] if before.answer != given.answer else said.changes
    return said.model_copy(update={"given": said.given | {criterion: given}, "changes": changes})


def _without_last(said: PersonLabels) -> PersonLabels:
    if not said.changes:
        return said
    *changes, last = said.changes
    return said.model_copy(update={"given": said.given | {last.criterion: last.before}, "changes": changes})
