"""The files of a review: a sheet on which a person judges a sample, the conversations beside it, and what a filled sheet says of the judge."""

from pathlib import Path

from core.errors import ReviewError
from core.fingerprint import seed_of
from core.judging.page import assessment_page
from core.judging.plan import read_judged
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, read_sheet, sample, write_sheet
from core.packs.pack import Rubric, load_pack
from core.records import AssessmentBatch, Judged
from core.reports.render import review_markdown
from core.storage.store import Store

SHEET, PAGE, BATCH = "sheet.csv", "transcripts.html", "batch"


def write_review(store: Store, domain: str, batch: str, size: int, keep: bool = False) -> str:
    """Write the sheet and the page with the transcripts, which says nothing of the judge; return the folder's name.

    Args:
        keep: whether a partly filled sheet is kept.

    Raises:
        ReviewError: there is such a sheet, and it is not to be kept.
    """
    pack = load_pack(domain)
    judged = _judged(store, batch, pack.rubric)
    chosen = sample(judged, size, seed_of("review", batch))
    folder = f"reviews/{batch.rsplit('-', maxsplit=1)[-1].removesuffix('.json')}-{len(chosen)}"
    sheet = write_sheet(chosen, pack.rubric, PAGE)
    if store.exists(f"{folder}/{SHEET}") and store.read(f"{folder}/{SHEET}") != sheet:
        if keep:
            return folder
        raise ReviewError(
            f"{store.root}/{folder}/{SHEET} has been changed since it was written, and is kept. Read it back with make review "
            f"SHEET={store.root}/{folder}/{SHEET}, or move it away to have it written again."
        )
    store.write(f"{folder}/{SHEET}", sheet)
    store.write(f"{folder}/{PAGE}", assessment_page(pack, chosen, "", blind=True))
    store.write(f"{folder}/{BATCH}", batch)
    return folder


def read_review(store: Store, domain: str, batch: str, sheet: Path) -> str:
    """Read a filled sheet and return the report, which is written beside the other reviews too.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    rubric = load_pack(domain).rubric
    labels, judged = read_labels(store, rubric, batch, sheet)
    report = review_markdown(compare_labels(labels, judged, rubric))
    store.write(f"reviews/{batch.rsplit('-', maxsplit=1)[-1].removesuffix('.json')}.md", report)
    return report


def read_labels(store: Store, rubric: Rubric, batch: str, sheet: Path) -> tuple[Labels, list[Judged]]:
    """Return what a person wrote into a sheet, and the batch that it is of.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    data = sheet.read_bytes()
    # UTF-16 is what Excel calls Unicode text; latin-1 stands for its plain CSV, in which answers and nearly all ids are the same
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "latin-1")
    text = next(text for encoding in encodings if (text := _decoded(data, encoding)) is not None)
    judged = _judged(store, batch, rubric)
    return read_sheet(text, judged, rubric), judged


def _judged(store: Store, batch: str, rubric: Rubric) -> list[Judged]:
    """Read a batch, and see that labels and verdicts are of the same rubric."""
    judged = read_judged(store, store.load(batch, AssessmentBatch))
    if other := sorted({item.final.rubric_hash for item in judged} - {rubric.hash}):
        raise ReviewError(f"{batch} was judged by the rubric {other[0]}; the rubric is {rubric.hash} now. Judge again (make assess), then write a new sheet.")
    return judged


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
