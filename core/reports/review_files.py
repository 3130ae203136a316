"""The files of a review: a sheet on which a person judges a sample, the conversations beside it, and what a filled sheet says of the judge."""

from collections.abc import Sequence
from pathlib import Path

from core.errors import ReviewError
from core.evaluation.attempts import FOLDER
from core.evaluation.blind_review import Coded, blind_sample, read_coded
from core.evaluation.labelled import by_labels
from core.evaluation.record import EvaluationRecord
from core.fingerprint import seed_of
from core.judging.page import assessment_page
from core.judging.plan import read_judged
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, read_sheet, sample, write_sheet
from core.packs.pack import Rubric, load_pack
from core.records import AssessmentBatch, Judged
from core.reports.evaluation_review import evaluation_review_markdown
from core.reports.render import review_markdown
from core.storage.store import Store

SHEET, PAGE, BATCH = "sheet.csv", "transcripts.html", "batch"


def write_review(store: Store, domain: str, batch: str, size: int, keep: bool = False) -> str:
    """Write the sheet and the page with the transcripts, which says nothing of the judge; return the folder's name.

    Args:
        batch: of assessments, or the folder of an evaluation, whose arms the person is not to know.
        keep: whether a partly filled sheet is kept.

    Raises:
        ReviewError: there is such a sheet, and it is not to be kept.
    """
    pack, seed = load_pack(domain), seed_of("review", batch)
    if _is_evaluation(batch):
        coded = _coded(store, batch, pack.rubric)[1]
        chosen = blind_sample(list(coded.values()), size, seed)
    else:
        chosen = sample(_judged(store, batch, pack.rubric), size, seed)
    folder = f"reviews/{_short(batch)}-{len(chosen)}"
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
    """Read a filled sheet and return the report, which is written beside the other reviews too, and into the folder of an evaluation.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    rubric = load_pack(domain).rubric
    labels, judged = read_labels(store, rubric, batch, sheet)
    report = str(review_markdown(compare_labels(labels, judged, rubric)))
    if _is_evaluation(batch):
        record, coded = _coded(store, batch, rubric)
        report = f"{evaluation_review_markdown(by_labels(record, batch, coded, labels, rubric))}\n{report}"
        store.write(f"{batch}/review.md", report)
    store.write(f"reviews/{_short(batch)}.md", report)
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
    """Read a batch, or the conversations of an evaluation under their codes."""
    if _is_evaluation(batch):
        return [one.judged for one in _coded(store, batch, rubric)[1].values()]
    judged = read_judged(store, store.load(batch, AssessmentBatch))
    _check_rubric(batch, judged, rubric)
    return judged


def _coded(store: Store, folder: str, rubric: Rubric) -> tuple[EvaluationRecord, dict[str, Coded]]:
    record, coded = read_coded(store, folder)
    _check_rubric(folder, [one.judged for one in coded.values()], rubric)
    return record, coded


def _check_rubric(batch: str, judged: Sequence[Judged], rubric: Rubric) -> None:
    """See that labels and verdicts are of the same rubric."""
    if other := sorted({item.final.rubric_hash for item in judged} - {rubric.hash}):
        raise ReviewError(f"{batch} was judged by the rubric {other[0]}; the rubric is {rubric.hash} now. Judge again (make assess), then write a new sheet.")


def _is_evaluation(batch: str) -> bool:
    return batch.startswith(f"{FOLDER}/")


def _short(batch: str) -> str:
    return batch.rsplit("-", maxsplit=1)[-1].removesuffix(".json")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
