"""The files of a review: a sheet on which a person judges a sample, the conversations beside it, and what a filled sheet says of the judge."""

from collections.abc import Sequence
from pathlib import Path

from core.errors import ReviewError
from core.escaping import Markdown
from core.evaluation.attempts import FOLDER
from core.evaluation.blind_review import Coded, blind_sample, read_coded
from core.evaluation.labelled import LabelledEvaluation, by_labels
from core.evaluation.record import EvaluationRecord
from core.fingerprint import fingerprint, seed_of
from core.judging.golden import load_golden
from core.judging.labels import Sample, keep_sample, samples, take_labels
from core.judging.page import assessment_page
from core.judging.plan import read_judged
from core.judging.review import compare_labels
from core.judging.review_sheet import Labels, read_sheet, read_sheets, sample, write_sheet
from core.judging.scoring import score
from core.packs.pack import Pack, Rubric, load_pack
from core.records import Answer, Assessment, AssessmentBatch, Judged, Transcript, Verdict
from core.reports.evaluation_review import evaluation_review_markdown
from core.reports.learnt import lessons
from core.reports.render import review_markdown
from core.storage.store import Store

SHEET, PAGE, BATCH = "sheet.csv", "transcripts.html", "batch"
GOLDEN, GOLDEN_JUDGE = "golden/", "the golden set"
"""With which the name of a golden set begins where a batch is named, and what stands for its judge."""


def write_review(store: Store, domain: str, batch: str, size: int, keep: bool = False) -> str:
    """Write the sheet and the page with the transcripts, which says nothing of the judge; return the folder's name.

    Args:
        batch: of assessments, or the folder of an evaluation, whose arms the person is not to know.
        keep: whether a partly filled sheet is kept.

    Raises:
        ReviewError: there is such a sheet, and it is not to be kept.
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
    _keep(store, pack, batch, chosen)
    store.write(f"{folder}/{SHEET}", sheet)
    store.write(f"{folder}/{PAGE}", assessment_page(pack, chosen, "", blind=True))
    store.write(f"{folder}/{BATCH}", batch)
    return folder


def draw_sample(store: Store, pack: Pack, batch: str, size: int) -> list[Judged]:
    """Return the transcripts of a batch that people judge; the same batch and size give the same ones.

    Args:
        batch: of assessments, the folder of an evaluation, of which every arm's come, or `golden/` and the domain.

    Raises:
        ReviewError: there is nothing to draw from.
    """
    seed = seed_of("review", batch)
    if is_evaluation(batch):
        return blind_sample(list(coded_of(store, batch, pack.rubric)[1].values()), size, seed)
    return sample(judged_of(store, pack.rubric, batch), size, seed)


def read_review(store: Store, domain: str, batch: str, sheet: Path, person: str = "") -> str:
    """Read a filled sheet and return the report, which is written beside the other reviews too, and into the folder of an evaluation.

    The labels of people with a name are kept as if they had been given in the studio.

    Args:
        person: whose labels they are, where the sheet does not name people.

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
    """Draw a sample for people to label, and return its name; the same batch and size give the same one.

    Raises:
        ReviewError: there is nothing to draw from.
    """
    return _keep(store, pack, batch, draw_sample(store, pack, batch, size))


def _keep(store: Store, pack: Pack, batch: str, chosen: Sequence[Judged]) -> str:
    kind = "evaluation" if is_evaluation(batch) else "golden" if batch.startswith(GOLDEN) else "batch"
    made = Sample(
        domain=pack.name,
        kind=kind,
        source=batch,
        rubric_hash=pack.rubric.hash,
        transcripts=[item.transcript.id for item in chosen],
        lengths=[len(item.transcript.exchanges) for item in chosen],
    )
    # a golden set has the same name when it has grown
    which = f"-{fingerprint(made.transcripts)[:6]}" if kind == "golden" else ""
    return keep_sample(store, f"{short_name(batch)}{which}-{len(chosen)}", made, chosen)


def sample_with(store: Store, batch: str, labels: Labels) -> str:
    """Return the name of the smallest sample of a batch that has all labelled transcripts.

    Raises:
        ReviewError: there is none.
    """
    fitting = {name: one for name, one in samples(store).items() if one.source == batch and set(labels.answers) <= set(one.transcripts)}
    if not fitting:
        raise ReviewError(f"No sample of {batch} has all transcripts of the sheet, so the labels cannot be kept by name. Leave --person and the names out.")
    return min(fitting, key=lambda name: len(fitting[name].transcripts))


def labels_report(store: Store, pack: Pack, batch: str, judged: Sequence[Judged], labels: Labels, person: str = "") -> Markdown:
    """Return what a person's labels say of the judge, and of an evaluation's decision; an empty name is that of the only one."""
    found = compare_labels(labels, judged, pack.rubric)
    report = review_markdown(found, lessons(found, who=person or "the person"), person)
    if is_evaluation(batch):
        record, coded = coded_of(store, batch, pack.rubric)
        return with_evaluation(report, by_labels(record, batch, coded, labels, pack.rubric))
    return report


def with_evaluation(report: Markdown, found: LabelledEvaluation) -> Markdown:
    """Return what a person's labels say of an evaluation, before what they say of its judge."""
    return Markdown(f"{evaluation_review_markdown(found)}\n{report}")


def read_labels(store: Store, rubric: Rubric, batch: str, sheet: Path) -> tuple[Labels, list[Judged]]:
    """Return what one person wrote into a sheet, and the batch that it is of.

    Raises:
        ReviewError: the sheet cannot be used.
    """
    judged = judged_of(store, rubric, batch)
    return read_sheet(sheet_text(sheet), judged, rubric), judged


def sheet_text(sheet: Path) -> str:
    """Return the text of a sheet, as a spreadsheet program saved it."""
    return text_of(sheet.read_bytes())


def text_of(data: bytes) -> str:
    """Return the text of a sheet's bytes."""
    # UTF-16 is what Excel calls Unicode text; latin-1 stands for its plain CSV, in which answers and nearly all ids are the same
    encodings = ("utf-16",) if data[:2] in (b"\xff\xfe", b"\xfe\xff") else ("utf-8", "latin-1")
    return next(text for encoding in encodings if (text := _decoded(data, encoding)) is not None)


def judged_of(store: Store, rubric: Rubric, batch: str) -> list[Judged]:
    """Read a batch, the conversations of an evaluation under their codes, or a golden set, whose verdicts stand for a judge's.

    Raises:
        ReviewError: it was judged by another rubric, or there is no golden set.
    """
    if is_evaluation(batch):
        return [one.judged for one in coded_of(store, batch, rubric)[1].values()]
    if batch.startswith(GOLDEN):
        return _golden(load_pack(batch.removeprefix(GOLDEN)))
    judged = read_judged(store, store.load(batch, AssessmentBatch))
    _check_rubric(batch, judged, rubric)
    return judged


def _golden(pack: Pack) -> list[Judged]:
    found = []
    for item in load_golden(pack):
        given = [
            Verdict(criterion=name, answer=Answer(verdict.answer), reasoning=verdict.reason, cited=verdict.exchanges)
            for name, verdict in item.file.verdicts.items()
        ]
        result = score(pack.rubric, given, len(item.file.exchanges))
        final = Assessment(transcript_id=item.id, judge=GOLDEN_JUDGE, rubric_hash=pack.rubric.hash, verdicts=given, score=result)
        # ids of golden conversations may tell the verdict
        blind = Transcript(id=f"g-{fingerprint([pack.name, item.id])[:10]}", exchanges=item.transcript.exchanges)
        found.append(Judged(transcript=blind, final=final, by_judge={GOLDEN_JUDGE: final}))
    if not found:
        raise ReviewError(f"The pack {pack.name!r} has no golden set (config/domains/{pack.name}/golden/*.yaml). docs/judging.md says how to make one.")
    return found


def coded_of(store: Store, folder: str, rubric: Rubric) -> tuple[EvaluationRecord, dict[str, Coded]]:
    """Return an evaluation, and its judged conversations by code.

    Raises:
        ReviewError: its conversations were not kept, or were judged by another rubric.
    """
    record, coded = read_coded(store, folder)
    _check_rubric(folder, [one.judged for one in coded.values()], rubric)
    return record, coded


def _check_rubric(batch: str, judged: Sequence[Judged], rubric: Rubric) -> None:
    """See that labels and verdicts are of the same rubric."""
    if other := sorted({item.final.rubric_hash for item in judged} - {rubric.hash}):
        raise ReviewError(
            f"{batch} was judged by the rubric {other[0]}; the rubric is now {rubric.hash}. Judge again (understudy assess), then write a new sheet."
        )


def is_evaluation(batch: str) -> bool:
    """Say whether a batch is the folder of an evaluation."""
    return batch.startswith(f"{FOLDER}/")


def short_name(batch: str) -> str:
    """Return what a batch is called in the names of what is made of it."""
    return batch.replace("/", "-") if batch.startswith(GOLDEN) else batch.rsplit("-", maxsplit=1)[-1].removesuffix(".json")


def _decoded(data: bytes, encoding: str) -> str | None:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return None
