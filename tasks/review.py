"""`make review`: a sheet on which a person judges a sample, and what a filled sheet says of the judge."""

import sys
from pathlib import Path

from core.assessment_page import assessment_page
from core.errors import ReviewError, UnderstudyError
from core.fingerprint import seed_of
from core.pack import load_pack
from core.records import AssessmentBatch, Judged
from core.reports import review_markdown
from core.review import review
from core.review_sheet import read_sheet, sample, write_sheet
from core.settings import load_settings
from core.store import CHECKOUT, open_store
from tasks.assessment_report import latest, read_judged

SHEET, PAGE, BATCH = "sheet.csv", "transcripts.html", "batch"


def write(domain: str, batch: str, size: int) -> str:
    """Write the sheet and the page with the transcripts, which says nothing of the judge; return the folder's name.

    Raises:
        ReviewError: a sheet is there that somebody has begun to fill in.
    """
    store, pack, judged = open_store(), load_pack(domain), _judged(batch)
    chosen = sample(judged, size, seed_of("review", batch))
    folder = f"reviews/{batch.rsplit('-', maxsplit=1)[-1].removesuffix('.json')}-{len(chosen)}"
    sheet = write_sheet(chosen, pack.rubric, PAGE)
    if store.exists(f"{folder}/{SHEET}") and store.read(f"{folder}/{SHEET}") != sheet:
        raise ReviewError(
            f"{store.root}/{folder}/{SHEET} has been changed since it was written, and is kept. Read it back with make review "
            f"SHEET={store.root}/{folder}/{SHEET}, or move it away to have it written anew."
        )
    store.write(f"{folder}/{SHEET}", sheet)
    store.write(f"{folder}/{PAGE}", assessment_page(pack, chosen, "", blind=True))
    store.write(f"{folder}/{BATCH}", batch)
    return folder


def read(domain: str, batch: str, sheet: Path, settings: str) -> str:
    """Read a filled sheet and return the report, which is written beside the other reviews too.

    Raises:
        ReviewError: the sheet is not there or cannot be used.
    """
    try:
        text = sheet.read_bytes().decode("utf-8")
    except OSError as error:
        raise ReviewError(f"{sheet} cannot be read: {error.strerror}. Give the sheet that make review wrote, filled in.") from error
    except UnicodeDecodeError:
        text = sheet.read_bytes().decode("latin-1")  # what a spreadsheet saves as plain CSV; ids and answers are the same in both
    rubric, judged, trust = load_pack(domain).rubric, _judged(batch), load_settings(settings).assessment.trust
    report = review_markdown(review(read_sheet(text, judged, rubric), judged, rubric, trust.resamples, trust.few))
    open_store().write(f"reviews/{batch.rsplit('-', maxsplit=1)[-1].removesuffix('.json')}.md", report)
    return report


def _judged(batch: str) -> list[Judged]:
    return read_judged(AssessmentBatch.model_validate_json(open_store().read(batch)))


def _batch(given: dict[str, str], sheet: Path | None) -> str:
    """Return the batch that is asked for, that a sheet was drawn from, or the domain's last."""
    store = open_store()
    if given["batch"]:
        return given["batch"]
    if sheet and (beside := sheet.parent / BATCH).exists():
        return beside.read_text(encoding="utf-8")
    if not store.exists(latest(given["domain"])):
        raise ReviewError(
            f"No assessments of {given['domain']!r} are in {store.root}. Make some first (make assess), or name a batch with BATCH=batches/….json."
        )
    return store.read(latest(given["domain"]))


def main(arguments: list[str]) -> int:
    """Write a sheet, or print what a filled one says; return the exit code."""
    defaults = {"domain": "therapeutic-coaching", "sample": "", "sheet": "", "batch": "", "settings": "config/pipeline.yaml"}
    given = defaults | dict(item.partition("=")[::2] for item in arguments)
    try:
        load_pack(given["domain"])
        if given["sheet"]:
            sheet = CHECKOUT / Path(given["sheet"]).expanduser()
            print(read(given["domain"], _batch(given, sheet), sheet, given["settings"]))
            return 0
        size = given["sample"] or str(load_settings(given["settings"]).assessment.trust.reviewed)
        if not size.isdecimal():
            raise ReviewError(f"SAMPLE={size} is no number. Allowed: 1 or more transcripts, such as SAMPLE=30.")
        folder = f"{open_store().root}/{write(given['domain'], _batch(given, None), int(size))}"
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    print(f"Read the conversations:    {folder}/{PAGE}")
    print(f"Write YES, NO or NA into:  {folder}/{SHEET}")
    print(f"Then:                      make review SHEET={folder}/{SHEET}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
