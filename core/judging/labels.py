"""Labels that people give one by one: a sample that several people read, and a small file for each person and conversation.

Two people never write the same file, a file is complete or absent, and an answer is on disk before the page confirms it to the person.
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
from core.packs.rubric import Criterion, Rubric
from core.records import Answer, DomainName, Judged, Record, Transcript
from core.storage.locks import locked
from core.storage.store import Store

FOLDER, SAMPLE_FILE, CONVERSATIONS = "labels", "sample.json", "conversations"
"""The folder of all samples, below the data root; in a sample's folder, its description, and the folder of its conversations, without their provenance."""
MAX_NAME, MAX_REASON = 60, 4_000
"""Characters of a person's name, and of a reason for an answer."""
MAX_CHANGES = 50
"""Changes of a person's labels on a conversation that can be undone."""
WAIT_SECONDS = 10.0
"""How long an answer waits for the lock while another answer of the same person on the same conversation is written, which takes milliseconds."""

SourceKind = Literal["batch", "evaluation", "golden"]


class Sample(Record):
    """Conversations that people label.

    Args:
        source: the batch of assessments, the evaluation's folder, or `golden/<domain>`, that they were drawn from.
        transcripts: their ids in the order of reading; in an evaluation these are codes that do not reveal the arm.
        lengths: number of exchanges of each, in the same order.
    """

    domain: DomainName
    kind: SourceKind
    source: str
    rubric_hash: str
    transcripts: list[str] = Field(min_length=1)
    lengths: list[int]


class Given(Record):
    """A person's label on one criterion; without an answer it may still have a reason."""

    answer: Literal["YES", "NO", "NA"] | None = None
    reason: str = ""


class Change(Record):
    """The label on a criterion before it was changed, for undo."""

    criterion: str
    before: Given


class PersonLabels(Record):
    """A person's labels on a conversation.

    Args:
        person: the name as the person wrote it.
        note: about the whole conversation, from a sheet.
        given: labels by criterion.
        changes: of answers, the latest last.
    """

    person: str
    transcript: str
    note: str = ""
    given: dict[str, Given] = Field(default_factory=dict)
    changes: list[Change] = Field(default_factory=list)


@dataclass(frozen=True)
class Progress:
    """How far a person is with a sample.

    Args:
        answers: given so far.
        due: answers in all, given or missing.
        whole: conversations without a missing answer.
        conversations: of the sample.
    """

    person: str
    answers: int
    due: int
    whole: int
    conversations: int

    @property
    def done(self) -> bool:
        """Whether every answer is given."""
        return self.answers == self.due


def check_person(name: str) -> str:
    """Return a person's name in normal form.

    Raises:
        ReviewError: it is empty, too long, or not printable.
    """
    plain = " ".join(normalize("NFC", name).split())
    if not plain or len(plain) > MAX_NAME or not plain.isprintable() or "/" in plain or plain.strip(".") == "":
        raise ReviewError(f"{plain[:60]!r} is not a valid name for labels. Allowed: 1 to {MAX_NAME} printable characters, without a slash. Write your name.")
    return plain


def person_key(name: str) -> str:
    """Return a person's name as part of a path; names that differ only in case are the same person."""
    folded = check_person(name).casefold()
    plain = re.sub(r"[^a-z0-9]+", "-", folded).strip("-")[:40]
    return plain if plain == folded else f"{plain}-{fingerprint(folded)[:6]}".strip("-")


def keep_sample(store: Store, name: str, sample: Sample, drawn: Sequence[Judged]) -> str:
    """Store a sample with its conversations under a name, and return the name; an existing sample is left unchanged, with its labels.

    Args:
        drawn: the conversations, in the order of the sample; what would reveal their source is not stored.
    """
    if not store.exists(f"{FOLDER}/{name}/{SAMPLE_FILE}"):
        for number, item in enumerate(drawn, 1):
            blind = Transcript(id=item.transcript.id, exchanges=item.transcript.exchanges, opening=item.transcript.opening)
            store.write_json(f"{FOLDER}/{name}/{CONVERSATIONS}/{number}.json", blind)
        store.write_json(f"{FOLDER}/{name}/{SAMPLE_FILE}", sample)
    return name


def read_sample(store: Store, name: str) -> Sample:
    """Return the sample of a name.

    Raises:
        ReviewError: there is no such sample.
    """
    if "/" in name or not store.exists(f"{FOLDER}/{name}/{SAMPLE_FILE}"):
        raise ReviewError(f"{name[:80]!r} is not a label sample in {store.root}/{FOLDER}. Draw one on the studio's page of labels.")
    return store.load(f"{FOLDER}/{name}/{SAMPLE_FILE}", Sample)


def samples(store: Store) -> dict[str, Sample]:
    """Return all samples by name; one that cannot be read is left out."""
    names = [f"{folder}/{SAMPLE_FILE}" for folder in store.names(FOLDER) if store.exists(f"{folder}/{SAMPLE_FILE}")]
    readable, _ = store.load_all(names, Sample)
    return {name.split("/")[1]: sample for name, sample in readable.items()}


def conversation(store: Store, name: str, number: int) -> Transcript:
    """Return a conversation of a sample by its number, counted from 1."""
    return store.load(f"{FOLDER}/{name}/{CONVERSATIONS}/{number}.json", Transcript)


def people(store: Store, name: str) -> list[str]:
    """Return the names of the people who have labelled in a sample, sorted."""
    folders = [folder for folder in store.names(f"{FOLDER}/{name}/people") if store.names(folder, ".json")]
    first = [store.names(folder, ".json")[0] for folder in folders]
    return sorted(labels.person for labels in store.load_all(first, PersonLabels)[0].values())


def read_labels(store: Store, name: str, person: str, transcript: str) -> PersonLabels:
    """Return a person's labels on a conversation; they are empty where nothing is stored."""
    place = _place(name, person, transcript)
    return store.load(place, PersonLabels) if store.exists(place) else PersonLabels(person=check_person(person), transcript=transcript)


def give(store: Store, name: str, person: str, number: int, criterion: Criterion, given: Given) -> PersonLabels:
    """Store a person's label on a criterion, and return all the person's labels on the conversation.

    Args:
        number: of the conversation, counted from 1.

    Raises:
        ReviewError: there is no such conversation, the criterion does not apply or allow the answer, or the reason is too long.
        StoreError: the label cannot be stored.
    """
    sample = read_sample(store, name)
    if not 1 <= number <= len(sample.transcripts):
        raise ReviewError(f"There is no conversation {number}. Allowed: 1 to {len(sample.transcripts)}.")
    head, length = criterion.head, sample.lengths[number - 1]
    if head.from_exchange > length:
        raise ReviewError(f"{head.id} applies from exchange {head.from_exchange} on; this conversation has {length}. Leave it without an answer.")
    if given.answer == "NA" and head.na == "never":
        raise ReviewError(f"{head.id} never allows NA. Answer YES or NO.")
    if len(given.reason) > MAX_REASON:
        raise ReviewError(f"The reason has {len(given.reason):,} characters; {MAX_REASON:,} are allowed. Shorten it.")
    return _change(store, name, person, sample.transcripts[number - 1], lambda labels: _with(labels, head.id, given))


def undo(store: Store, name: str, person: str, number: int) -> PersonLabels:
    """Undo a person's last change in a conversation, if there is one; return the person's labels on it.

    Args:
        number: of the conversation, counted from 1.
    """
    sample = read_sample(store, name)
    return _change(store, name, person, sample.transcripts[number - 1], _without_last)


def labels_of(store: Store, name: str, person: str, rubric: Rubric) -> Labels:
    """Return a person's labels on a sample; the note on a conversation also repeats all the reasons given in it."""
    sample, labels = read_sample(store, name), Labels({}, {}, [])
    for transcript, length in zip(sample.transcripts, sample.lengths, strict=True):
        stored = read_labels(store, name, person, transcript)
        for criterion in applicable(rubric, length):
            label = stored.given.get(criterion.id, Given())
            if label.answer is None:
                labels.unlabelled.append((transcript, criterion.id))
            else:
                labels.answers.setdefault(transcript, {})[criterion.id] = Answer(label.answer)
            if label.reason.strip():
                labels.reasons.setdefault(transcript, {})[criterion.id] = label.reason.strip()
        reasons = [f"{criterion}: {' '.join(reason.split())}" for criterion, reason in labels.reasons.get(transcript, {}).items()]
        if note := " ".join([stored.note, *reasons]).strip():
            labels.notes[transcript] = note
    return labels


def take_labels(store: Store, name: str, person: str, labels: Labels, rubric: Rubric) -> int:
    """Store a sheet's labels as a person's, and return the number of answers in it; labels that the sheet leaves empty are not changed.

    Raises:
        ReviewError: the sheet has labels on a conversation that is not in the sample.
    """
    sample = read_sample(store, name)
    if strange := sorted({*labels.answers, *labels.notes} - set(sample.transcripts)):
        raise ReviewError(f"The sheet has labels on {strange[0]!r:.80}, which is not in the sample {name}. Give the sheet of this sample.")

    def merged(stored: PersonLabels, transcript: str) -> PersonLabels:
        for criterion in (one for one in rubric.criteria if one in labels.answers.get(transcript, {})):
            before = stored.given.get(criterion, Given())
            reason = labels.reasons.get(transcript, {}).get(criterion, before.reason)
            stored = _with(stored, criterion, Given.model_validate({"answer": labels.answers[transcript][criterion].value, "reason": reason}))
        return stored.model_copy(update={"note": labels.notes.get(transcript, stored.note)})

    for transcript in labels.answers:
        _change(store, name, person, transcript, lambda stored, transcript=transcript: merged(stored, transcript))
    return sum(map(len, labels.answers.values()))


def progress(store: Store, name: str, person: str, rubric: Rubric) -> Progress:
    """Return how far a person is with a sample."""
    sample, labels = read_sample(store, name), labels_of(store, name, person, rubric)
    incomplete = {transcript for transcript, _ in labels.unlabelled}
    answers = sum(map(len, labels.answers.values()))
    return Progress(check_person(person), answers, answers + len(labels.unlabelled), len(sample.transcripts) - len(incomplete), len(sample.transcripts))


def allowed(criterion: Criterion) -> tuple[str, ...]:
    """Return the answers that a criterion allows."""
    return ("YES", "NO", "NA") if criterion.head.na == "allowed" else ("YES", "NO")


def _place(name: str, person: str, transcript: str) -> str:
    return f"{FOLDER}/{name}/people/{person_key(person)}/{fingerprint(transcript)}.json"


def _change(store: Store, name: str, person: str, transcript: str, change: Callable[[PersonLabels], PersonLabels]) -> PersonLabels:
    """Change a person's labels on a conversation under a lock, for which the same person's other windows wait."""
    place = _place(name, person, transcript)
    with locked(store, place.removesuffix(".json"), WAIT_SECONDS):
        labels = change(read_labels(store, name, person, transcript))
        store.write_json(place, labels)
    return labels


def _with(labels: PersonLabels, criterion: str, given: Given) -> PersonLabels:
    before = labels.given.get(criterion, Given())
    changes = [*labels.changes, Change(criterion=criterion, before=before)][-MAX_CHANGES:] if before.answer != given.answer else labels.changes
    return labels.model_copy(update={"given": labels.given | {criterion: given}, "changes": changes})


def _without_last(labels: PersonLabels) -> PersonLabels:
    if not labels.changes:
        return labels
    *changes, last = labels.changes
    return labels.model_copy(update={"given": labels.given | {last.criterion: last.before}, "changes": changes})
