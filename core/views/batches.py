"""Batches of assessments with their conversations. A batch is cached in memory until one of its files changes."""

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

CACHE_SIZE = 4
"""Maximum number of batches in memory."""
READ_AT_ONCE = 200
"""Number of files that are read in one call."""
UNJUDGED, NOWHERE = "batches/transcripts-", "-"
"""Prefix of the path of a batch of conversations that are not judged yet, and the placeholder for the path of a missing assessment."""


@dataclass(frozen=True)
class Result:
    """The parts of an assessment that a row shows.

    Args:
        score: from 0 to 1; None if nothing could be scored.
        errors: number of criteria without a usable answer.
        answers: the answer to each criterion, by its id.
    """

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
        path: path of the transcript.
        assessment: path of the final assessment.
        id: id of the transcript.
        name: name of the persona.
        exchanges: number of exchanges.
        traits: values that were drawn for the persona, by dimension; this includes flaws, topics, episodes and trajectory.
        results: the final result, then the result of each judge of a panel; None for a judge without an assessment.
        text: the messages.
        plain: id, name and messages in the form in which they are searched.
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
        """The final result; None if there is none."""
        return self.results[0]


@dataclass(frozen=True)
class Batch:
    """A batch, with its conversations.

    Args:
        name: name of the batch, such as `assessments-b7e24c25aa45`.
        modified: Unix time of the batch file's last change, in seconds.
        by: all judges.
        judges: the judges of a panel; empty if there is one judge.
        left_out: conversations that are not in the batch, with reasons.
        damaged: reasons why files could not be read, by path.
        pack: current pack of the domain; None if it cannot be loaded.
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
class _Cached:
    states: dict[str, FileState] = field(default_factory=dict)
    transcripts: dict[str, dict[str, Any]] = field(default_factory=dict)
    results: dict[str, Result] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    batch: Batch | None = None


_MEMORY: OrderedDict[tuple[str, str], _Cached] = OrderedDict()
_LOCK = threading.Lock()


def batch_path(name: str) -> str:
    """Return the path of a batch below the data root."""
    return f"batches/{name}.json"


def open_batch(store: Store, name: str) -> Batch:
    """Return a batch with its conversations. Files that are in memory are read again only if they have changed.

    Args:
        name: name of the batch, without folder and suffix.

    Raises:
        StoreError: there is no such batch.
    """
    path = batch_path(name)
    with _LOCK:
        cached = _MEMORY.setdefault((store.root, name), _Cached())
        _MEMORY.move_to_end((store.root, name))
        while len(_MEMORY) > CACHE_SIZE:
            _MEMORY.popitem(last=False)
    if not (current := store.states([path])):
        _MEMORY.pop((store.root, name), None)
    if cached.batch and current.get(path) == cached.states.get(path):
        parts = [part for row in cached.batch.rows for part in (row.path, row.assessment)]
        if store.states(parts) == {part: cached.states.get(part) for part in parts} and cached.batch.pack is _pack(cached.batch.domain):
            return cached.batch
    listed = _listed(store, path)
    paths = [item.transcript.path for item in listed.assessments]
    verdicts = [part for item in listed.assessments for part in (item.path, *item.by_judge.values()) if part != NOWHERE]
    states = store.states([path, *paths, *verdicts])
    _read(store, cached, [part for part in paths if cached.states.get(part) != states.get(part)], cached.transcripts, _transcript)
    _read(store, cached, [part for part in verdicts if cached.states.get(part) != states.get(part)], cached.results, _result)
    judges = listed.judges if len(listed.judges) > 1 else []
    rows = []
    for item in listed.assessments:
        fields = cached.transcripts.get(item.transcript.path)
        if fields is None:
            continue
        by_judge = [cached.results.get(item.by_judge[judge]) if judge in item.by_judge else None for judge in judges]
        final = cached.results.get(item.path)
        rows.append(Row(item.transcript.path, item.path, item.transcript.id, results=(final, *by_judge), **fields))
    batch = Batch(name, listed.domain, states[path].modified, listed.judges, judges, rows, listed.left_out, dict(cached.damaged), _pack(listed.domain))
    cached.states, cached.batch = states, batch
    return batch


def _listed(store: Store, path: str) -> AssessmentBatch:
    """Return a batch of assessments; for conversations that are not judged yet, one with placeholders."""
    if not path.startswith(UNJUDGED):
        return store.load(path, AssessmentBatch)
    unjudged = store.load(path, TranscriptBatch)
    refs = [AssessmentRef(path=NOWHERE, transcript=item, outcome=Outcome.INCOMPLETE, score=None) for item in unjudged.transcripts]
    return AssessmentBatch(domain=unjudged.domain, judges=[], assessments=refs, left_out=unjudged.left_out)


def _pack(domain: str) -> Pack | None:
    try:
        return load_pack(domain)
    except PackError:
        return None


def _read(store: Store, cached: _Cached, names: Sequence[str], into: dict[str, Any], make: Callable[[bytes], Any]) -> None:
    """Read files into the cache; damaged ones are left out and recorded in `damaged`."""
    for name, data in contents(store, names):
        into.pop(name, None)
        cached.damaged.pop(name, None)
        try:
            if data is None:
                raise StoreError("The file was removed, or is a link.")
            into[name] = make(data)
        except (ValidationError, StoreError) as error:
            cached.damaged[name] = str(error) if isinstance(error, StoreError) else "The file is damaged: it is not a record of its kind."


def contents(store: Store, names: Sequence[str]) -> Iterator[tuple[str, bytes | None]]:
    """Yield each file's name and bytes; None for a file that does not exist. Many files are read at once."""
    existing = store.states(names)
    distinct = sorted({name for name in names if name in existing})
    for begin in range(0, len(distinct), READ_AT_ONCE):
        some = distinct[begin : begin + READ_AT_ONCE]
        yield from zip(some, store.read_many(some), strict=True)
    yield from ((name, None) for name in names if name not in existing)


def _transcript(data: bytes) -> dict[str, Any]:
    transcript = Transcript.model_validate_json(data)
    persona, opening = transcript.persona or {}, [transcript.opening] if transcript.opening else []
    text = "\n".join([*opening, *(part for exchange in transcript.exchanges for part in (exchange.user, exchange.assistant))])
    name = persona.get("name")
    return {
        "name": name if isinstance(name, str) else "",
        "exchanges": len(transcript.exchanges),
        "traits": traits_of(persona),
        "text": text,
        "plain": plain(f"{transcript.id}\n{name}\n{text}"),
    }


def _result(data: bytes) -> Result:
    assessment = Assessment.model_validate_json(data)
    answers = {verdict.criterion: verdict.answer.value for verdict in assessment.verdicts}
    score = assessment.score
    return Result(score.outcome.value, score.score, tuple(score.failed_gates), tuple(score.failed_checks), score.errors, answers)


def traits_of(persona: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Return the values that were drawn for a persona, by dimension. An imported persona may have any content, so its form is checked."""
    traits: dict[str, tuple[str, ...]] = {}
    dimensions = persona.get("dimensions")
    for name, value in (dimensions if isinstance(dimensions, dict) else {}).items():
        if isinstance(name, str) and isinstance(value, str):
            traits[name] = (value,)
    if isinstance(trajectory := persona.get("trajectory"), str):
        traits["trajectory"] = (trajectory,)
    for key, part in (("flaws", "name"), ("topics", "subtopic"), ("episodes", "name")):
        listed = persona.get(key)
        names = [item[part] for item in (listed if isinstance(listed, list) else []) if isinstance(item, dict) and isinstance(item.get(part), str)]
        if names:
            traits[key] = tuple(dict.fromkeys(names))
    if isinstance(country := persona.get("country"), str):
        traits["country"] = (country,)
    return traits


def plain(text: str) -> str:
    """Return a text in the form in which it is searched: without capitals, typographic apostrophes and line breaks."""
    return text.lower().replace("’", "'").replace("\n", " ")
