"""The files of a review: a sheet for a person's answers, a page with the sampled conversations, and the report from a filled sheet."""

from collections.abc import Sequence
from pathlib import Path

from core.errors import ReviewError
from core.escaping import Markdown
from core.evaluation.attempts import FOLDER
from core.evaluation.blind_review import Coded, blind_sample, read_coded
from core.evaluation.labelled import LabelledEvaluation, by_labels
from core.evaluation.record import EvaluationRecord
from core.fingerprint import fingerprint, seed_of
from core.judging.filled_sheet import read_sheet, read_sheets
from core.judging.golden import load_golden
from core.judging.labels import Sample, keep_sample, samples, take_labels
from core.judging.page import assessment_page
from core.judging.plan import read_judged
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, sample, write_sheet
from core.judging.scoring import score
from core.packs.pack import Pack, load_pack
from core.packs.rubric import Rubric
from core.records import Answer, Assessment, AssessmentBatch, Judged, Transcript, Verdict
from core.reports.evaluation_review import evaluation_review_markdown
from core.reports.learnt import lessons
from core.reports.render import review_markdown
from core.storage.store import Store

SHEET, PAGE, BATCH = "sheet.csv", "transcripts.html", "batch"
GOLDEN, GOLDEN_JUDGE = "golden/", "the golden set"
"""Beginning of a golden set's name where a batch is named, followed by the domain; and the name of its judge."""


def write_review(store: Store, domain: str, batch: str, size: int, keep: bool = False) -> str:
    """Write the sheet and the page with the transcripts, without the judge's verdicts, and return the folder's name.

    Args:
        store: the data root.
        domain: name of the domain.
        batch: name of a batch of assessments, or folder of an evaluation; the page does not show the arms.
        size: number of transcripts.
        keep: whether to keep a partly filled sheet instead of raising an error.

    Raises:
        ReviewError: a sheet exists and has been changed.
    """
    pack = load_pack(domain)
    chosen = draw_sample(store, pack, batch, size)
    folder = f"reviews/{short_name(batch)}-{len(chosen)}"
    sheet = write_sheet(chosen, pack.rubric, PAGE)
    if store.exists(f"{folder}/{SHEET}") and store.read(f"{folder}/{SHEET}") != sheet:
        if keep:
            return folder
        raise ReviewError(
            f"{store.root}/{folder}/{SHEET} has been changed since it was written, and is kept. Read it back with understudy review "
            f"{store.root}/{folder}/{SHEET}, or move it away to have it written again."
        )
    _store_sample(store, pack, batch, chosen)
    store.write(f"{folder}/{SHEET}", sheet)
    store.write(f"{folder}/{PAGE}", assessment_page(pack, chosen, "", blind=True))
    store.write(f"{folder}/{BATCH}", batch)
    return folder


def draw_sample(store: Store, pack: Pack, batch: str, size: int) -> list[Judged]:
    """Return a sample of a batch's transcripts for people to judge; the same batch and size give the same sample.

    Args:
        store: the data root.
        pack: the domain pack.
        batch: name of a batch of assessments, folder of an evaluation (transcripts of every arm), or `golden/` and the domain.
        size: number of transcripts.

    Raises:
        ReviewError: the batch has no transcripts.
    """
    seed = seed_of("review", batch)
    if is_evaluation(batch):
        return blind_sample(list(coded_of(store, batch, pack.rubric)[1].values()), size, seed)
    return sample(judged_of(store, pack.rubric, batch), size, seed)


def read_review(store: Store, domain: str, batch: str, sheet: Path, person: str = "") -> str:
    """Return the report from a filled sheet; it is also written to `reviews/` and, for an evaluation, to its folder.

    The labels of named people are stored as if they had been entered in the studio.

    Args:
        store: the data root.
        domain: name of the domain.
        batch: name of the batch, as for `draw_sample`.
        sheet: path of the filled sheet.
        person: name of the person, if the sheet does not name people.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    pack = load_pack(domain)
    judged = judged_of(store, pack.rubric, batch)
    by_person = read_sheets(sheet_text(sheet), {item.transcript.id: len(item.transcript.exchanges) for item in judged}, pack.rubric)
    by_person = {name or person: labels for name, labels in by_person.items()}
    for name, labels in by_person.items():
        if name:
            take_labels(store, sample_with(store, batch, labels), name, labels, pack.rubric)
    report = "\n".join(labels_report(store, pack, batch, judged, labels, person) for person, labels in by_person.items())
    if is_evaluation(batch):
        store.write(f"{batch}/review.md", report)
    store.write(f"reviews/{short_name(batch)}.md", report)
    return report


def make_sample(store: Store, pack: Pack, batch: str, size: int) -> str:
    """Store a sample for people to label and return its name; arguments and errors as for `draw_sample`."""
    return _store_sample(store, pack, batch, draw_sample(store, pack, batch, size))


def _store_sample(store: Store, pack: Pack, batch: str, chosen: Sequence[Judged]) -> str:
    kind = "evaluation" if is_evaluation(batch) else "golden" if batch.startswith(GOLDEN) else "batch"
    stored = Sample(
        domain=pack.name,
        kind=kind,
        source=batch,
        rubric_hash=pack.rubric.hash,
        transcripts=[item.transcript.id for item in chosen],
        lengths=[len(item.transcript.exchanges) for item in chosen],
    )
    # a golden set keeps its name when it grows, so its samples need a fingerprint
    suffix = f"-{fingerprint(stored.transcripts)[:6]}" if kind == "golden" else ""
    return keep_sample(store, f"{short_name(batch)}{suffix}-{len(chosen)}", stored, chosen)


def sample_with(store: Store, batch: str, labels: Labels) -> str:
    """Return the name of the smallest sample of a batch that contains all labelled transcripts.

    Raises:
        ReviewError: no sample contains them.
    """
    fitting = {name: item for name, item in samples(store).items() if item.source == batch and set(labels.answers) <= set(item.transcripts)}
    if not fitting:
        raise ReviewError(f"No sample of {batch} has all transcripts of the sheet, so the labels cannot be kept by name. Leave --person and the names out.")
    return min(fitting, key=lambda name: len(fitting[name].transcripts))


def labels_report(store: Store, pack: Pack, batch: str, judged: Sequence[Judged], labels: Labels, person: str = "") -> Markdown:
    """Return the report from a person's labels: on the judge and, for an evaluation, on its decision.

    Args:
        store: the data root.
        pack: the domain pack.
        batch: name of the batch.
        judged: the judged transcripts of the batch.
        labels: the person's labels.
        person: the person's name; empty if only one person labelled.
    """
    comparison = compare_labels(labels, judged, pack.rubric)
    report = review_markdown(comparison, lessons(comparison, who=person or "the person"), person)
    if is_evaluation(batch):
        record, coded = coded_of(store, batch, pack.rubric)
        return with_evaluation(report, by_labels(record, batch, coded, labels, pack.rubric))
    return report


def with_evaluation(report: Markdown, evaluation: LabelledEvaluation) -> Markdown:
    """Return a report on a judge with the report on the labelled evaluation before it."""
    return Markdown(f"{evaluation_review_markdown(evaluation)}\n{report}")


def read_labels(store: Store, rubric: Rubric, batch: str, sheet: Path) -> tuple[Labels, list[Judged]]:
    """Return one person's labels from a sheet, and the judged transcripts of its batch.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    judged = judged_of(store, rubric, batch)
    return read_sheet(sheet_text(sheet), judged, rubric), judged


def sheet_text(sheet: Path) -> str:
    """Return the text of a sheet that a spreadsheet program saved."""
    return text_of(sheet.read_bytes())


def text_of(data: bytes) -> str:
    """Return the text of a sheet's bytes."""
    # Excel's "Unicode text" is UTF-16. Its plain CSV has a legacy encoding; latin-1 reads answers and nearly all ids of it correctly
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "latin-1")
    return next(text for encoding in encodings if (text := _decoded(data, encoding)) is not None)


def judged_of(store: Store, rubric: Rubric, batch: str) -> list[Judged]:
    """Return the judged transcripts of a batch, of an evaluation (under codes), or of a golden set (with its verdicts as a judge's).

    Raises:
        ReviewError: the batch was judged by another rubric, or the golden set does not exist.
    """
    if is_evaluation(batch):
        return [item.judged for item in coded_of(store, batch, rubric)[1].values()]
    if batch.startswith(GOLDEN):
        return _golden(load_pack(batch.removeprefix(GOLDEN)))
    judged = read_judged(store, store.load(batch, AssessmentBatch))
    _check_rubric(batch, judged, rubric)
    return judged


def _golden(pack: Pack) -> list[Judged]:
    judged = []
    for item in load_golden(pack):
        verdicts = [
            Verdict(criterion=name, answer=Answer(verdict.answer), reasoning=verdict.reason, cited=verdict.exchanges)
            for name, verdict in item.file.verdicts.items()
        ]
        result = score(pack.rubric, verdicts, len(item.file.exchanges))
        final = Assessment(transcript_id=item.id, judge=GOLDEN_JUDGE, rubric_hash=pack.rubric.hash, verdicts=verdicts, score=result)
        # the id of a golden conversation may reveal the verdict
        blind = Transcript(id=f"g-{fingerprint([pack.name, item.id])[:10]}", exchanges=item.transcript.exchanges)
        judged.append(Judged(transcript=blind, final=final, by_judge={GOLDEN_JUDGE: final}))
    if not judged:
        raise ReviewError(f"The pack {pack.name!r} has no golden set (config/domains/{pack.name}/golden/*.yaml). docs/judging.md says how to make one.")
    return judged


def coded_of(store: Store, folder: str, rubric: Rubric) -> tuple[EvaluationRecord, dict[str, Coded]]:
    """Return the record of an evaluation, and its judged conversations by code.

    Raises:
        ReviewError: the conversations were not stored, or were judged by another rubric.
    """
    record, coded = read_coded(store, folder)
    _check_rubric(folder, [item.judged for item in coded.values()], rubric)
    return record, coded


def _check_rubric(batch: str, judged: Sequence[Judged], rubric: Rubric) -> None:
    """Raise `ReviewError` if a transcript was judged by another rubric than the current one."""
    if other := sorted({item.final.rubric_hash for item in judged} - {rubric.hash}):
        raise ReviewError(
            f"{batch} was judged by the rubric {other[0]}; the rubric is now {rubric.hash}. Judge again (understudy assess), then write a new sheet."
        )


def is_evaluation(batch: str) -> bool:
    """Return whether a batch is the folder of an evaluation."""
    return batch.startswith(f"{FOLDER}/")


def short_name(batch: str) -> str:
    """Return the short form of a batch's name, for the names of its reviews and samples."""
    return batch.replace("/", "-") if batch.startswith(GOLDEN) else batch.rsplit("-", maxsplit=1)[-1].removesuffix(".json")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
