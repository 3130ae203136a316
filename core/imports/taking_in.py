"""Transcripts from elsewhere become files of the data root, and what exists of a domain becomes a batch."""

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
"""Below the data root: conversations that were imported, and what was stated of them."""
NOT_STATED = "not stated"
RECORDED = "recorded"
"""In a transcript's provenance: the pack whose recorded conversation it is."""


def read_folder(store: Store, folder: str, domain: str, warn: Callable[[str], object], recorded: bool = False) -> str:
    """Take the transcripts of a folder into the data root; the files themselves are left as they are.

    Args:
        folder: a path, relative to the working directory unless absolute.
        warn: takes what a person is to know.
        recorded: whether it is the pack's own, of recorded conversations.

    Returns:
        Name of the batch's file below the data root.

    Raises:
        TranscriptError: the folder holds no readable transcript.
    """
    reading, terms = find_transcripts(user_path(folder)), terms_of(store, user_path(folder))
    if recorded:
        del reading.notes[KEPT_SYSTEM]  # which the pack has, too
    for line in reading.notices():
        warn(line)
    marked = {RECORDED: domain} if recorded else {}
    found = [one.model_copy(update={"provenance": one.provenance | marked}) for one in reading.transcripts.values()]
    taken = [TranscriptRef(id=one.id, path=taken_in(store, one, terms), exchanges=len(one.exchanges)) for one in found]
    left_out = [LeftOut(name=place, reason=reason) for place, reason in reading.left_out.items()]
    return keep_batch(store, TranscriptBatch(domain=domain, transcripts=taken, left_out=left_out))


def all_rehearsed(store: Store, domain: str, warn: Callable[[str], object]) -> str:
    """Make a batch of every transcript that was rehearsed for a domain; return its name.

    Raises:
        TranscriptError: there is none.
    """
    found = rehearsed(store, domain)
    for reason in found.damaged.values():
        warn(f"Left out: {reason}")
    if not found.refs:
        raise TranscriptError(f"No transcript of {domain!r} in {store.root}. Rehearse some first (understudy generate), or name a folder.")
    left_out = [LeftOut(name=path, reason=reason) for path, reason in found.damaged.items()]
    return keep_batch(store, TranscriptBatch(domain=domain, transcripts=found.refs, left_out=left_out))


def taken_in(store: Store, transcript: Transcript, terms: dict[str, Any] | None = None) -> str:
    """Store a transcript from elsewhere below the data root; return its name.

    Args:
        terms: what was stated of it when it was imported.
    """
    if terms:
        transcript = transcript.model_copy(update={"provenance": transcript.provenance | {"terms": terms}})
    path = f"transcripts/imported/{fingerprint(transcript)}.json"
    if not store.exists(path):
        store.write_json(path, transcript)
    return path


def terms_of(store: Store, folder: Path) -> dict[str, Any] | None:
    """Return what was stated of a folder when it was imported; none for one that `understudy import` did not write."""
    if not store.is_local or folder.resolve().parent != store.local(f"{IMPORTED}/x").parent.resolve():
        return None
    name = f"{IMPORTED}/{folder.resolve().name}.json"
    return store.load_json(name)["terms"] if store.exists(name) else None
