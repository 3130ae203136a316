"""A batch of assessments with its conversations, read once and kept in memory for as long as no file of it changes."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from core.errors import PackError, StoreError
from core.packs.pack import Pack, load_pack
from core.records import Assessment, AssessmentBatch, AssessmentRef, LeftOut, Outcome, Transcript, TranscriptBatch
from core.storage.file_states import FileState
from core.storage.store import Store

KEPT_BATCHES = 4
"""Batches whose conversations are kept in memory."""
READ_AT_ONCE = 200
"""Files."""
UNJUDGED, NOWHERE = "batches/transcripts-", "-"
"""How a batch of conversations begins that are yet to be judged, and the path of an assessment that there is not."""


@dataclass(frozen=True)
class Result:
    """What an assessment says of a conversation, as the rows show it."""

    outcome: str
    score: float | None
    failed_gates: tuple[str, ...]
    failed_checks: tuple[str, ...]
    errors: int
    answers: dict[str, str]


@dataclass(frozen=True)
class Row:
    """A conversation of a batch.

    Args:
        path: of the transcript; assessment: of what counts.
        name: the persona's.
        traits: what was drawn for the persona, by dimension; flaws and trajectory are among them.
        results: of what counts, and then of each judge of a panel; none where that judge said nothing.
        text: what was said; plain: the same, as it is searched.
    """

    path: str
    assessment: str
    id: str
    name: str
    exchanges: int
    traits: dict[str, tuple[str, ...]]
    results: tuple[Result | None, ...]
    text: str
    plain: str

    @property
    def result(self) -> Result | None:
        """What counts."""
        return self.results[0]


@dataclass(frozen=True)
class Batch:
    """A batch, with its conversations.

    Args:
        name: such as `assessments-b7e24c25aa45`.
        modified: when it was written, in seconds since 1970.
        judges: of a panel; none where there is one judge alone.
        damaged: what could not be read, by name.
        pack: of its domain, as it is now; none where that cannot be loaded.
    """

    name: str
    domain: str
    modified: float
    by: list[str]
    judges: list[str]
    rows: list[Row]
    left_out: list[LeftOut]
    damaged: dict[str, str]
    pack: Pack | None


@dataclass
class _Kept:
    states: dict[str, FileState] = field(default_factory=dict)
    transcripts: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    batch: Batch | None = None


_MEMORY: OrderedDict[tuple[str, str], _Kept] = OrderedDict()
_LOCK = threading.Lock()


def batch_path(name: str) -> str:
    """Return where a batch is, below the data root."""
    return f"batches/{name}.json"


def open_batch(store: Store, name: str) -> Batch:
    """Return a batch with its conversations; what is in memory is used as long as no file of it has changed.

    Raises:
        StoreError: there is no such batch.
    """
    path = batch_path(name)
    with _LOCK:
        kept = _MEMORY.setdefault((store.root, name), _Kept())
        _MEMORY.move_to_end((store.root, name))
        while len(_MEMORY) > KEPT_BATCHES:
            _MEMORY.popitem(last=False)
    if not (found := store.states([path])):
        _MEMORY.pop((store.root, name), None)
    if kept.batch and found.get(path) == kept.states.get(path):
        named = [part for row in kept.batch.rows for part in (row.path, row.assessment)]
        if store.states(named) == {part: kept.states.get(part) for part in named} and kept.batch.pack is _pack(kept.batch.domain):
            return kept.batch
    listed = _listed(store, path)
    paths = [item.transcript.path for item in listed.assessments]
    verdicts = [part for item in listed.assessments for part in (item.path, *item.by_judge.values()) if part != NOWHERE]
    states = store.states([path, *paths, *verdicts])
    _read(store, kept, [part for part in paths if kept.states.get(part) != states.get(part)], kept.transcripts, _transcript)
    _read(store, kept, [part for part in verdicts if kept.states.get(part) != states.get(part)], kept.results, _result)
    judges = listed.judges if len(listed.judges) > 1 else []
    rows = []
    for item in listed.assessments:
        said = kept.transcripts.get(item.transcript.path)
        if said is None:
            continue
        own = [kept.results.get(item.by_judge[judge]) if judge in item.by_judge else None for judge in judges]
        final = kept.results.get(item.path)
        rows.append(Row(item.transcript.path, item.path, item.transcript.id, results=(final, *own), **said))
    batch = Batch(name, listed.domain, states[path].modified, listed.judges, judges, rows, listed.left_out, dict(kept.damaged), _pack(listed.domain))
    kept.states, kept.batch = states, batch
    return batch


def _listed(store: Store, path: str) -> AssessmentBatch:
    """Return a batch; of conversations that nobody has judged, as one of assessments that are not there."""
    if not path.startswith(UNJUDGED):
        return store.load(path, AssessmentBatch)
    made = store.load(path, TranscriptBatch)
    refs = [AssessmentRef(path=NOWHERE, transcript=item, outcome=Outcome.INCOMPLETE, score=None) for item in made.transcripts]
    return AssessmentBatch(domain=made.domain, judges=[], assessments=refs, left_out=made.left_out)


def _pack(domain: str) -> Pack | None:
    try:
        return load_pack(domain)
    except PackError:
        return None


def _read(store: Store, kept: _Kept, names: Sequence[str], into: dict[str, Any], make: Callable[[bytes], Any]) -> None:
    """Read files that are new or have changed; a damaged one is named and left out."""
    for name, data in contents(store, names):
        into.pop(name, None)
        kept.damaged.pop(name, None)
        try:
            if data is None:
                raise StoreError("The file was removed, or is a link.")
            into[name] = make(data)
        except (ValidationError, StoreError) as error:
            kept.damaged[name] = str(error) if isinstance(error, StoreError) else "The file is damaged: it is not a record of its kind."


def contents(store: Store, names: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Return the bytes of files, many at once; none of one that is not there."""
    there = store.states(names)
    distinct = sorted({name for name in names if name in there})
    for begin in range(0, len(distinct), READ_AT_ONCE):
        some = distinct[begin : begin + READ_AT_ONCE]
        yield from zip(some, store.read_many(some), strict=True)
    yield from ((name, None) for name in names if name not in there)


def _transcript(data: bytes) -> dict[str, Any]:
    found = Transcript.model_validate_json(data)
    persona = found.persona or {}
    text = "\n".join([*([found.opening] if found.opening else []), *(part for one in found.exchanges for part in (one.user, one.assistant))])
    name = persona.get("name")
    return {
        "name": name if isinstance(name, str) else "",
        "exchanges": len(found.exchanges),
        "traits": traits_of(persona),
        "text": text,
        "plain": plain(f"{found.id}\n{name}\n{text}"),
    }


def _result(data: bytes) -> Result:
    found = Assessment.model_validate_json(data)
    answers = {verdict.criterion: verdict.answer.value for verdict in found.verdicts}
    score = found.score
    return Result(score.outcome.value, score.score, tuple(score.failed_gates), tuple(score.failed_checks), score.errors, answers)


def traits_of(persona: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return what was drawn for a persona, by dimension; one from elsewhere may hold anything in these places."""
    found: dict[str, tuple[str, ...]] = {}
    dimensions = persona.get("dimensions")
    for name, value in (dimensions if isinstance(dimensions, dict) else {}).items():
        if isinstance(name, str) and isinstance(value, str):
            found[name] = (value,)
    if isinstance(trajectory := persona.get("trajectory"), str):
        found["trajectory"] = (trajectory,)
    for key, part in (("flaws", "name"), ("topics", "subtopic"), ("episodes", "name")):
        listed = persona.get(key)
        names = [item[part] for item in (listed if isinstance(listed, list) else []) if isinstance(item, dict) and isinstance(item.get(part), str)]
        if names:
            found[key] = tuple(dict.fromkeys(names))
    if isinstance(country := persona.get("country"), str):
        found["country"] = (country,)
    return found


def plain(text: str) -> str:
    """Return a text as it is searched: capitals, kinds of apostrophe and line breaks make no difference."""
    return text.lower().replace("’", "'").replace("\n", " ")
