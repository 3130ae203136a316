"""Stores transcripts from elsewhere in the data root, and makes batches of imported or rehearsed transcripts."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from core.errors import TranscriptError
from core.fingerprint import fingerprint
from core.imports.message_shapes import KEPT_SYSTEM
from core.imports.rehearsed import rehearsed
from core.imports.transcript_files import find_transcripts
from core.paths import user_path
from core.records import LeftOut, Transcript, TranscriptBatch, TranscriptRef
from core.storage.batches import keep_batch
from core.storage.store import Store

IMPORTED = "imported"
"""Folder below the data root for imported conversations and their terms."""
NOT_STATED = "not stated"
"""The consent in the terms of an import for which none was stated."""
RECORDED = "recorded"
"""Key of a transcript's provenance with the name of the pack that contains it as a recorded conversation."""


def read_folder(store: Store, folder: str, domain: str, warn: Callable[[str], object], recorded: bool = False) -> str:
    """Copy the transcripts of a folder into the data root as a batch; the files in the folder are not changed.

    Args:
        folder: a path, relative to the working directory unless absolute.
        warn: called with a sentence about what was left out or changed.
        recorded: whether the folder holds the recorded conversations of the pack.

    Returns:
        The name of the batch's file, below the data root.

    Raises:
        TranscriptError: the folder holds no readable transcript.
    """
    reading, terms = find_transcripts(user_path(folder)), terms_of(store, user_path(folder))
    if recorded:
        del reading.notes[KEPT_SYSTEM]  # the pack contains these prompts too
    for line in reading.notices():
        warn(line)
    marked = {RECORDED: domain} if recorded else {}
    transcripts = [item.model_copy(update={"provenance": item.provenance | marked}) for item in reading.transcripts.values()]
    refs = [TranscriptRef(id=item.id, path=store_import(store, item, terms), exchanges=len(item.exchanges)) for item in transcripts]
    left_out = [LeftOut(name=place, reason=reason) for place, reason in reading.left_out.items()]
    return keep_batch(store, TranscriptBatch(domain=domain, transcripts=refs, left_out=left_out))


def all_rehearsed(store: Store, domain: str, warn: Callable[[str], object]) -> str:
    """Make a batch of all rehearsed transcripts of a domain, and return its name.

    Raises:
        TranscriptError: there is no such transcript.
    """
    transcripts = rehearsed(store, domain)
    for reason in transcripts.damaged.values():
        warn(f"Left out: {reason}")
    if not transcripts.refs:
        raise TranscriptError(f"No transcript of {domain!r} in {store.root}. Rehearse some first (understudy generate), or name a folder.")
    left_out = [LeftOut(name=path, reason=reason) for path, reason in transcripts.damaged.items()]
    return keep_batch(store, TranscriptBatch(domain=domain, transcripts=transcripts.refs, left_out=left_out))


def store_import(store: Store, transcript: Transcript, terms: dict[str, Any] | None = None) -> str:
    """Store a transcript from elsewhere below the data root, and return the name of its file.

    Args:
        terms: the terms that were stated when it was imported; None if there are none.
    """
    if terms:
        transcript = transcript.model_copy(update={"provenance": transcript.provenance | {"terms": terms}})
    path = f"transcripts/imported/{fingerprint(transcript)}.json"
    if not store.exists(path):
        store.write_json(path, transcript)
    return path


def terms_of(store: Store, folder: Path) -> dict[str, Any] | None:
    """Return the terms that were stated when a folder was imported; None for a folder that `understudy import` did not write."""
    if not store.is_local or folder.resolve().parent != store.local(f"{IMPORTED}/x").parent.resolve():
        return None
    name = f"{IMPORTED}/{folder.resolve().name}.json"
    return store.load_json(name)["terms"] if store.exists(name) else None
