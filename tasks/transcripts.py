"""Which transcripts a batch is of: those of a folder, or all that were rehearsed."""

from prefect.logging import get_run_logger

from core.errors import TranscriptError
from core.fingerprint import fingerprint
from core.imports.transcript_files import find_transcripts
from core.paths import user_path
from core.records import LeftOut, Transcript, TranscriptBatch, TranscriptRef
from core.storage.store import open_store
from tasks.gathering import taken_in
from tasks.importing import terms_of


def read_folder(folder: str, domain: str) -> str:
    """Take the transcripts of a folder into the data root; the files themselves are left as they are.

    Args:
        folder: a path, relative to the working directory unless absolute.

    Returns:
        Name of the batch's file below the data root.

    Raises:
        TranscriptError: the folder holds no readable transcript.
    """
    found = find_transcripts(user_path(folder))
    store, logger = open_store(), get_run_logger()
    for line in found.told():
        logger.warning("%s", line)
    taken, terms = [], terms_of(user_path(folder))
    for transcript in found.transcripts.values():
        taken.append(TranscriptRef(id=transcript.id, path=taken_in(transcript, terms), exchanges=len(transcript.exchanges)))
    logger.info("Read %d transcripts from %s%s.", len(taken), folder, f", left out {len(found.left_out)}" if found.left_out else "")
    left_out = [LeftOut(name=place, reason=reason) for place, reason in found.left_out.items()]
    batch = TranscriptBatch(domain=domain, transcripts=taken, left_out=left_out)
    return store.write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)


def all_rehearsed(domain: str) -> str:
    """Make a batch of every transcript that was rehearsed for a domain.

    Raises:
        TranscriptError: there is none.
    """
    store = open_store()
    transcripts, damaged = store.records(store.names(f"transcripts/{domain}", ".json"), Transcript)
    for reason in damaged.values():
        get_run_logger().warning("Left out: %s", reason)
    if not transcripts:
        raise TranscriptError(f"No transcript of {domain!r} in {store.root}. Rehearse some first (make generate), or name a folder.")
    refs = [TranscriptRef(id=item.id, path=path, exchanges=len(item.exchanges)) for path, item in transcripts.items()]
    left_out = [LeftOut(name=path, reason=reason) for path, reason in damaged.items()]
    batch = TranscriptBatch(domain=domain, transcripts=refs, left_out=left_out)
    return store.write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)
