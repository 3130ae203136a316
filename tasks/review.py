"""A sheet on which a person judges a sample, and what a filled sheet says of the judge."""

from pathlib import Path

from core.errors import ReviewError
from core.fingerprint import seed_of
from core.judging.page import assessment_page
from core.judging.review import SAMPLE
from core.judging.review import review as review_figures
from core.judging.review_sheet import read_sheet, sample, write_sheet
from core.packs.pack import Rubric, load_pack
from core.paths import user_path
from core.quantities import Count
from core.records import AssessmentBatch, Judged
from core.reports.render import review_markdown
from core.storage.store import open_store
from core.terminal import Answer
from tasks.assessment_report import latest, read_judged

SHEET, PAGE, BATCH = "sheet.csv", "transcripts.html", "batch"


def write(domain: str, batch: str, size: int, keep: bool = False) -> str:
    """Write the sheet and the page with the transcripts, which says nothing of the judge; return the folder's name.

    Args:
        keep: whether a sheet that somebody has begun to fill in is left as it is.

    Raises:
        ReviewError: there is such a sheet, and it is not to be kept.
    """
    store, pack = open_store(), load_pack(domain)
    judged = _judged(batch, pack.rubric)
    chosen = sample(judged, size, seed_of("review", batch))
    folder = f"reviews/{batch.rsplit('-', maxsplit=1)[-1].removesuffix('.json')}-{len(chosen)}"
    sheet = write_sheet(chosen, pack.rubric, PAGE)
    if store.exists(f"{folder}/{SHEET}") and store.read(f"{folder}/{SHEET}") != sheet:
        if keep:
            return folder
        raise ReviewError(
            f"{store.root}/{folder}/{SHEET} has been changed since it was written, and is kept. Read it back with make review "
            f"SHEET={store.root}/{folder}/{SHEET}, or move it away to have it written anew."
        )
    store.write(f"{folder}/{SHEET}", sheet)
    store.write(f"{folder}/{PAGE}", assessment_page(pack, chosen, "", blind=True))
    store.write(f"{folder}/{BATCH}", batch)
    return folder


def read(domain: str, batch: str, sheet: Path) -> str:
    """Read a filled sheet and return the report, which is written beside the other reviews too.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    data = sheet.read_bytes()
    # UTF-16 is what Excel calls Unicode text; latin-1 stands for its plain CSV, in which answers and nearly all ids are the same
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "latin-1")
    text = next(text for encoding in encodings if (text := _decoded(data, encoding)) is not None)
    rubric = load_pack(domain).rubric
    judged = _judged(batch, rubric)
    report = review_markdown(review_figures(read_sheet(text, judged, rubric), judged, rubric))
    open_store().write(f"reviews/{batch.rsplit('-', maxsplit=1)[-1].removesuffix('.json')}.md", report)
    return report


def _judged(batch: str, rubric: Rubric) -> list[Judged]:
    """Read a batch, and see that labels and verdicts are of the same rubric."""
    judged = read_judged(open_store().record(batch, AssessmentBatch))
    if other := sorted({item.decided.rubric_hash for item in judged} - {rubric.hash}):
        raise ReviewError(f"{batch} was judged by the rubric {other[0]}; the rubric is {rubric.hash} now. Judge again (make assess), then write a new sheet.")
    return judged


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None


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
    if not store.exists(latest(domain)):
        raise ReviewError(f"No assessments of {domain!r} are in {store.root}. Make some first (make assess), or name a batch with --batch batches/….json.")
    return store.read(latest(domain))


def review(
    sheet: str | None = None,
    sample: Count = SAMPLE,
    domain: str = "therapeutic-coaching",
    batch: str | None = None,
) -> Answer:
    """Write a sheet on which a person judges a sample, or say what a filled one shows of the judge.

    Args:
        sheet: a sheet that a person has filled in; without it, one is written.
        sample: how many transcripts stand on a new sheet.
        domain: name of a domain pack.
        batch: a batch of assessments, as the assessment returns it; by default the domain's latest, or the sheet's own.
    """
    load_pack(domain)
    if sheet:
        path = user_path(sheet)
        report = read(domain, _batch(domain, batch, path), path)
        return Answer(report, {"report": report})
    folder = f"{open_store().root}/{write(domain, _batch(domain, batch, None), sample)}"
    lines = (
        f"Read the conversations:    {folder}/{PAGE}",
        f"Write YES, NO or NA into:  {folder}/{SHEET}",
        f"Then:                      understudy review {folder}/{SHEET} --domain {domain}",
    )
    return Answer("\n".join(lines), {"page": f"{folder}/{PAGE}", "sheet": f"{folder}/{SHEET}"})
