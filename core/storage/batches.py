"""Batches: files that one stage passes to the next, named by a fingerprint of their contents."""

from pathlib import PurePosixPath

from core.errors import SettingsError, nearest
from core.fingerprint import fingerprint
from core.records import AssessmentBatch, TranscriptBatch
from core.storage.places import name_fault
from core.storage.store import Store


def keep_batch(store: Store, batch: TranscriptBatch | AssessmentBatch) -> str:
    """Write a batch; return the file's name below the data root."""
    kind = "transcripts" if isinstance(batch, TranscriptBatch) else "assessments"
    return store.write_json(f"batches/{kind}-{fingerprint(batch)}.json", batch)


def find_batch(store: Store, written: str, kind: str) -> str:
    """Return the name below the data root of a batch that a person names.

    Args:
        store: the data root.
        written: the path that a command printed, the name below the data root, or only the file's name.
        kind: `transcripts` or `assessments`.

    Raises:
        SettingsError: there is no such batch.
    """
    file = f"{PurePosixPath(written).name.removesuffix('.json')}.json"
    if file.startswith(f"{kind}-") and store.exists(name := f"batches/{file}"):
        return name
    elsewhere = written.removeprefix(f"{store.root}/")  # such as the corrections of a round of improvement
    if PurePosixPath(elsewhere).parent.name not in ("", "batches") and not name_fault(elsewhere) and store.exists(elsewhere):
        return elsewhere
    known = [name.removeprefix("batches/") for name in store.names("batches", ".json", f"{kind}-")]
    command = "generate" if kind == "transcripts" else "assess"
    raise SettingsError(
        f"There is no batch of {kind} {written!r:.200} in {store.root}/batches.{nearest(file, known)} Give the path that `understudy {command}` printed."
    )


def latest_assessments(domain: str) -> str:
    """Return the name of the file that contains the name of a domain's latest batch of assessments."""
    return f"batches/latest-assessments-{domain}"


def report_folder(batch: str) -> str:
    """Return the folder of the report of a batch of assessments, below the data root."""
    return batch.replace("batches/", "reports/").removesuffix(".json")


def pages_of(batch: str) -> list[str]:
    """Return the pages below the data root that may show a batch: the first if it has assessments, the second if it has transcripts."""
    return [f"{report_folder(batch)}/report.html", f"{report_folder(batch)}.md"]
