"""The sources of a dataset: batches of assessments, or checkpoints together with a folder of transcripts."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from core.dataset.corrections import FOLDER as CORRECTIONS
from core.dataset.corrections import objection
from core.dataset.gathering import Candidate
from core.errors import DamagedError, DatasetError, TranscriptError
from core.fingerprint import fingerprint
from core.imports.foreign_files import files_below, opened
from core.imports.stored import store_import, terms_of
from core.imports.transcript_files import READ, find_transcripts
from core.judging.checkpoints import adopt_first, read_checkpoints, words_of
from core.judging.gather_rule import unmet_by
from core.packs.pack import Pack
from core.packs.rubric import GatherRule
from core.paths import user_path
from core.records import Assessment, AssessmentBatch, AssessmentRef, Outcome, Transcript
from core.storage.store import Store

PILOTS = "pilots/"
"""Folder of pilot transcripts below the data root; they are never trained on."""

Warn = Callable[[str], object]
"""Shows a sentence to the user."""


def candidates(
    store: Store, assessed: list[str], checkpoints: str | None, transcripts: str | None, pack: Pack, rule: GatherRule, not_read: dict[str, str], warn: Warn
) -> Iterator[Candidate]:
    """Yield the judged transcripts, in the order of the sources.

    Args:
        assessed: batches of assessments, below the data root.
        checkpoints: files and folders, separated by commas.
        transcripts: the folder of the transcripts that the checkpoints judge.
        rule: what a transcript must meet in addition to passing.
        not_read: filled in by place with the reason why part of the sources is not read.
        warn: called with a sentence about what is not used.

    Raises:
        DatasetError: a batch is of another domain.
    """
    for name in assessed:
        batch = store.load(name, AssessmentBatch)
        if batch.domain != pack.name:
            raise DatasetError(f"{name} belongs to the domain {batch.domain!r}; the dataset belongs to {pack.name!r}. Name batches of one domain.")
        not_read |= {item.name: item.reason for item in batch.left_out}
        for item in batch.assessments:
            try:
                yield _judged_here(store, item, name, pack, rule)
            except DamagedError as damaged:
                yield _not_read(item, name, str(damaged))
    if checkpoints and transcripts:
        yield from _judged_elsewhere(store, checkpoints, transcripts, pack, rule, not_read, warn)


def check_sources(checkpoints: str | None, transcripts: str | None) -> None:
    """Check that checkpoints and the folder of their transcripts are named together.

    Raises:
        DatasetError: only one of them is named.
    """
    if transcripts and not checkpoints:
        raise DatasetError(
            "A folder of transcripts was given without checkpoints that judge them. Give the checkpoints too, or judge the folder first (understudy assess)."
        )
    if checkpoints and not transcripts:
        raise DatasetError("Checkpoints were given without a folder of transcripts. Give the folder that holds the judged transcripts.")


def batches_of(store: Store, pack: Pack, warn: Warn) -> list[str]:
    """Return all batches of assessments of a domain that were judged by its current rubric, sorted by name.

    Args:
        warn: called with a sentence about batches that are not used.

    Raises:
        DatasetError: there is none.
    """
    current, older = [], 0
    names = (name for name in store.names("batches", ".json") if "/assessments-" in name)
    read, damaged = store.load_all(names, AssessmentBatch)
    for reason in damaged.values():
        warn(f"Not taken: {reason}")
    for name, batch in read.items():
        if batch.domain == pack.name and batch.assessments:
            is_current = f"/{pack.rubric.hash}/" in batch.assessments[0].path
            current += [name] if is_current else []
            older += not is_current
    if older:
        warn(f"Not taken: {older} batches that were judged by another rubric. Judge those transcripts again (understudy assess), or name the batches.")
    if not current:
        raise DatasetError(f"No assessments of {pack.name!r} by its current rubric are in {store.root}. Make some first (understudy assess).")
    return current


def content_of(store: Store, checkpoints: str | None, transcripts: str | None, assessed: Sequence[str] = ()) -> str:
    """Return a hash of the inputs of a dataset that may change without a new name, so that a dataset is reused only if they are the same.

    It covers the names and contents of the checkpoints and of the files in the folder, the terms that were stated when the folder was imported, and the
    assessments that were incomplete when their batch was written and are complete now.
    """
    places = [path.strip() for path in (checkpoints or "").split(",") if path.strip()] + ([transcripts] if transcripts else [])
    terms = terms_of(store, user_path(transcripts)) if transcripts else None
    incomplete = [item.path for name in assessed for item in store.load(name, AssessmentBatch).assessments if item.outcome is Outcome.INCOMPLETE]
    read, _ = store.load_all([path for path in incomplete if store.exists(path)], Assessment)
    digest = hashlib.sha256(fingerprint([terms, [path for path, item in read.items() if item.score.outcome is not Outcome.INCOMPLETE]]).encode())
    for place in places:
        path = user_path(place)
        for file in files_below(path, READ)[0] if path.is_dir() else [path]:
            digest.update(f"{file.relative_to(path) if file != path else file.name}\n".encode(errors="surrogateescape") + _content(file))
    return digest.hexdigest()[:12]


def _not_read(item: AssessmentRef, source: str, reason: str) -> Candidate:
    return Candidate(
        id=item.transcript.id,
        path=None,
        source=source,
        assessment=item.path,
        outcome=Outcome.INCOMPLETE,
        score=None,
        judge="",
        rubric_hash="",
        failed_gates=[],
        reason=reason,
    )


def _judged_here(store: Store, item: AssessmentRef, source: str, pack: Pack, rule: GatherRule) -> Candidate:
    if item.transcript.path.startswith(CORRECTIONS) and store.exists(item.path) and store.exists(item.transcript.path):
        return _corrected(store, item, source)
    exists = store.exists(item.path)
    transcript = store.load(item.transcript.path, Transcript) if store.exists(item.transcript.path) else None
    repaired_from = str(transcript.provenance["repair"]["of"]) if transcript and item.transcript.path.startswith("repaired/") else None
    judged = store.load(item.path, Assessment) if exists else None
    return Candidate(
        id=item.transcript.id,
        path=item.transcript.path if transcript else None,
        source=source,
        assessment=item.path,
        outcome=judged.score.outcome if judged else Outcome.INCOMPLETE,
        score=judged.score.score if judged else None,
        judge=judged.judge if judged else "",
        rubric_hash=judged.rubric_hash if judged else "",
        failed_gates=judged.score.failed_gates if judged else [],
        unmet=unmet_by(judged, rule, pack.rubric) if judged else [],
        repaired_from=repaired_from,
        reason="of a pilot" if item.transcript.path.startswith(PILOTS) else None if exists else "missing file: the assessment",
    )


def _corrected(store: Store, item: AssessmentRef, source: str) -> Candidate:
    """Return a correction, which passes if nothing objects to its corrected replies; it has no score, since no complete conversation was judged."""
    judged, provenance = store.load(item.path, Assessment), store.load(item.transcript.path, Transcript).provenance
    return Candidate(
        id=item.transcript.id,
        path=item.transcript.path,
        source=source,
        assessment=item.path,
        outcome=Outcome.PASS,
        score=None,
        judge=judged.judge,
        rubric_hash=judged.rubric_hash,
        failed_gates=judged.score.failed_gates,
        reason=objection(judged, provenance["corrected"]),
        round=provenance["round"],
    )


def _judged_elsewhere(store: Store, checkpoints: str, folder: str, pack: Pack, rule: GatherRule, not_read: dict[str, str], warn: Warn) -> Iterator[Candidate]:
    judgements = read_checkpoints([user_path(path.strip()) for path in checkpoints.split(",")])
    read = find_transcripts(user_path(folder))
    for line in [*judgements.notices(), *read.notices()]:
        warn(line)
    not_read |= judgements.damaged | judgements.repeated | read.left_out
    transcripts, terms = {item.id: item for item in read.transcripts.values()}, terms_of(store, user_path(folder))
    for name, entry in judgements.lines.items():
        place, line = entry
        versions = [transcripts[name], *read.doubles.get(name, [])] if name in transcripts else []
        transcript = versions[0] if len(versions) == 1 else next((item for item in versions if words_of(item) == line.words), None)
        unknown = "missing file" if not versions else f"{len(versions)} files with different texts have this id; which of them was judged is not known"
        if transcript:
            place, line, adopted = adopt_first(judgements, transcript, name, pack)
        else:
            adopted = unknown
        score = adopted.score if isinstance(adopted, Assessment) else None
        yield Candidate(
            id=name,
            path=store_import(store, transcript, terms) if transcript and score else None,
            source=place,
            assessment=place,
            outcome=score.outcome if score else Outcome.INCOMPLETE,
            score=score.score if score else line.score,
            judge=line.judge or "unknown judge (checkpoint)",
            rubric_hash=pack.rubric.hash,
            failed_gates=score.failed_gates if score else [],
            unmet=unmet_by(adopted, rule, pack.rubric) if isinstance(adopted, Assessment) else [],
            reason=None if isinstance(adopted, Assessment) else adopted,
        )


def _content(file: Path) -> bytes:
    try:
        with opened(file) as content:
            digest = hashlib.sha256()
            while part := content.read(2**20):
                digest.update(part)
            return digest.digest()
    except TranscriptError as unreadable:
        return str(unreadable).encode()
