"""Batches: what one stage hands to the next, as a file that is named for what is in it."""

from core.fingerprint import fingerprint
from core.records import AssessmentBatch, TranscriptBatch
from core.storage.store import Store


def keep_batch(store: Store, batch: TranscriptBatch | AssessmentBatch) -> str:
    """Write a batch; return the file's name below the data root."""
    kind = "transcripts" if isinstance(batch, TranscriptBatch) else "assessments"
    return store.write_json(f"batches/{kind}-{fingerprint(batch)}.json", batch)


def latest_assessments(domain: str) -> str:
    """Return the name of the file that holds the name of a domain's last batch of assessments."""
    return f"batches/latest-assessments-{domain}"


def report_folder(batch: str) -> str:
    """Return the folder of the report of a batch of assessments, below the data root."""
    return batch.replace("batches/", "reports/").removesuffix(".json")


def pages_of(batch: str) -> list[str]:
    """Return the pages that may show a batch, below the data root: of assessments, and of transcripts."""
    return [f"{report_folder(batch)}/report.html", f"{report_folder(batch)}.md"]
