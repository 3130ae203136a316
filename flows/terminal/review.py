"""A sheet on which a person judges a sample, and the comparison of a filled-in sheet with the judge."""

from pathlib import Path

from core.errors import ReviewError
from core.judging.review import SAMPLE
from core.packs.pack import load_pack
from core.paths import user_path
from core.quantities import Count
from core.reports.review_files import BATCH, PAGE, SHEET, read_review, write_review
from core.storage.batches import latest_assessments
from core.storage.store import open_store
from core.terminal import Answer


def _batch(domain: str, batch: str | None, sheet: Path | None) -> str:
    """Return the batch that is asked for, that a sheet was drawn from, or the domain's last.

    Raises:
        ReviewError: the sheet is not there, or there is no batch.
    """
    store = open_store()
    if sheet and not sheet.is_file():
        raise ReviewError(f"{sheet} is not there. Give the sheet that `understudy review` wrote, filled in.")
    if batch:
        return batch
    if sheet and (beside := sheet.parent / BATCH).exists():
        return beside.read_text(encoding="utf-8")
    if not store.exists(latest_assessments(domain)):
        raise ReviewError(f"No assessments of {domain!r} are in {store.root}. Make some first (make assess), or name a batch with --batch batches/….json.")
    return store.read(latest_assessments(domain))


def review(
    sheet: str | None = None,
    sample: Count | None = None,
    domain: str = "therapeutic-coaching",
    batch: str | None = None,
) -> Answer:
    """Write a sheet for a person to judge a sample, or compare a filled-in sheet with the judge.

    Args:
        sheet: a filled-in sheet; without it, a new one is written.
        sample: number of transcripts on a new sheet; default: 30.
        domain: name of a domain pack.
        batch: a batch of assessments; default: the domain's latest, or that of the sheet.
    """
    load_pack(domain)
    if sheet:
        path = user_path(sheet)
        report = read_review(open_store(), domain, _batch(domain, batch, path), path)
        return Answer(report, {"report": report})
    folder = f"{open_store().root}/{write_review(open_store(), domain, _batch(domain, batch, None), sample or SAMPLE)}"
    lines = (
        f"Read the conversations:    {folder}/{PAGE}",
        f"Write YES, NO or NA into:  {folder}/{SHEET}",
        f"Then:                      understudy review {folder}/{SHEET} --domain {domain}",
    )
    return Answer("\n".join(lines), {"page": f"{folder}/{PAGE}", "sheet": f"{folder}/{SHEET}"})
