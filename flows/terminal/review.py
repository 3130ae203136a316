"""A sheet on which a person judges a sample, and the comparison of a filled-in sheet with the judge."""

from pathlib import Path

from core.errors import ReviewError
from core.evaluation.blind_review import evaluation_folder
from core.judging.golden import load_golden
from core.judging.golden_review import OWN, golden_files, keep_golden
from core.judging.review import SAMPLE
from core.packs.pack import load_pack
from core.paths import user_path
from core.quantities import Count
from core.reports.review_files import BATCH, PAGE, SHEET, is_evaluation, read_labels, read_review, write_review
from core.storage.batches import find_batch, latest_assessments
from core.storage.store import open_store
from core.terminal import Answer, one_line


def _batch(domain: str, batch: str | None, sheet: Path | None) -> str:
    """Return the path of a batch: the one that is named, or else the one that the sheet was drawn from, or else the domain's latest.

    Raises:
        ReviewError: the sheet does not exist, or the domain has no batch.
        SettingsError: no batch has this name.
    """
    store = open_store()
    if sheet and not sheet.is_file():
        raise ReviewError(f"{sheet} {'is not a file' if sheet.exists() else 'does not exist'}. Give the sheet that `understudy review` wrote, filled in.")
    if batch:
        return batch if is_evaluation(batch) else find_batch(store, batch, "assessments")
    if sheet and (beside := sheet.parent / BATCH).exists():
        return beside.read_text(encoding="utf-8")
    if not store.exists(latest_assessments(domain)):
        raise ReviewError(f"No assessments of {domain!r} are in {store.root}. Make some first (understudy assess), or name a batch with --batch.")
    return store.read(latest_assessments(domain))


def review(
    sheet: str | None = None,
    sample: Count | None = None,
    domain: str = "therapeutic-coaching",
    batch: str | None = None,
    evaluation: str | None = None,
    person: str | None = None,
) -> Answer:
    """Write a sheet on which a person judges a sample, or compare a filled-in sheet with the judge.

    From an evaluation, the person gets conversations of all arms in pairs and does not see which arm is which. The studio (understudy studio) shows the same
    sample. If the rows of a sheet name the person, the studio shows the labels too.

    Args:
        sheet: a filled-in sheet; without it, a new one is written.
        sample: number of transcripts on a new sheet; default: 30.
        domain: name of a domain pack.
        batch: a batch of assessments; default: the batch of the sheet, or the domain's latest.
        evaluation: latest, or the folder of an evaluation; the sample is drawn from its conversations.
        person: name of the person who filled in the sheet, if the sheet has no column for it; the labels are then stored with those of the studio.
    """
    load_pack(domain)
    if evaluation:
        batch = evaluation_folder(open_store(), domain, evaluation)
    if sheet:
        path = user_path(sheet)
        report = read_review(open_store(), domain, _batch(domain, batch, path), path, person or "")
        return Answer(report, {"report": report})
    folder = f"{open_store().root}/{write_review(open_store(), domain, _batch(domain, batch, None), sample or SAMPLE)}"
    lines = (
        f"Read the conversations:    {folder}/{PAGE}",
        f"Write YES, NO or NA into:  {folder}/{SHEET}",
        f"Then:                      understudy review {folder}/{SHEET} --domain {domain}",
    )
    return Answer("\n".join(lines), {"page": f"{folder}/{PAGE}", "sheet": f"{folder}/{SHEET}"})


def golden(sheet: str, domain: str = "therapeutic-coaching", batch: str | None = None, to: Path | None = None) -> Answer:
    """Make golden conversations from a filled-in sheet: one from each transcript that a person labelled on every criterion that applies.

    Where person and judge differ, the verdict is marked as disputed. A third of the conversations, drawn by name, is held out. Existing files are kept.

    Args:
        sheet: a sheet of `understudy review`, filled in.
        domain: name of a domain pack.
        batch: the batch of assessments that the sheet was drawn from; default: the one recorded with the sheet.
        to: folder for the files; default: a folder below the data root.
    """
    store, pack, path = open_store(), load_pack(domain), user_path(sheet)
    source = _batch(domain, batch, path)
    labels, judged = read_labels(store, pack.rubric, source, path)
    files, skipped = golden_files(labels, judged, pack.rubric, source)
    folder = user_path(to) if to else store.local(f"{OWN}/{domain}/x").parent
    kept = keep_golden(files, folder)
    load_golden(pack, folder)
    lines = [f"{len(files) - len(kept)} golden conversations written to {folder}, {len(kept)} existed already."]
    lines += [f"- left out: {one_line(name)}: {one_line(why)}" for name, why in skipped.items()]
    lines += [f"Measure judges with them: understudy calibrate --domain {domain} --golden {folder}"] if files else []
    return Answer("\n".join(lines), {"folder": str(folder), "golden": list(files), "left_out": skipped}, 0 if files else 1)
