"""Publishing a batch of assessments: report, page and checkpoint in a folder of its own, and artifacts in the Prefect UI."""

import time
from typing import Any

from prefect.logging import get_run_logger

from core.fingerprint import fingerprint
from core.judging.checkpoints import write_checkpoint
from core.judging.figures import Figures, figures, own_family
from core.judging.page import assessment_page
from core.llm.ledger import bills
from core.records import Answer, Assessment, AssessmentBatch, AssessmentRef, Judged, Outcome, Transcript
from core.reports.render import assessment_markdown, folded_html
from core.storage.store import open_store
from tasks.artifacts import publish_report, publish_table
from tasks.run import Run


async def publish_assessment(batch_path: str, run: Run, again: dict[str, list[str]]) -> None:
    """Write what a batch of assessments came to, and publish it in the Prefect UI.

    Args:
        again: by judge, the paths of its repeated assessments of a sample.
    """
    store, logger, rubric = open_store(), get_run_logger(), run.pack.rubric
    batch = store.record(batch_path, AssessmentBatch)
    judged = read_judged(batch)
    repeats = {judge: [_assessment(path) for path in paths] for judge, paths in again.items()}
    found = figures(judged, rubric, repeats)
    caveats = caveats_of(judged, found)
    text = assessment_markdown(found, batch, run.pack, caveats, bills(store, run.ledger.run), time.monotonic() - run.began)
    folder = batch_path.replace("batches/", "reports/").removesuffix(".json") + (f"-{fingerprint(again)}" if again else "")
    store.write(f"{folder}/report.md", text)
    store.write(f"{folder}/checkpoint.jsonl", write_checkpoint(judged, rubric))
    page = store.write(f"{folder}/report.html", assessment_page(run.pack, judged, folded_html(text)))
    if any(item.outcome is not Outcome.INCOMPLETE for item in batch.assessments):  # else an earlier one with verdicts stays the last
        store.write(latest(batch.domain), batch_path)
    for caveat in caveats:
        logger.warning("%s", caveat)
    logger.info("Report: %s/%s", store.root, page)
    await publish_report(text, key=f"assessment-{batch.domain}", description="Assessment of a batch of transcripts")
    await publish_table(_table(found), key=f"criteria-{batch.domain}", description="How each criterion was answered")


def latest(domain: str) -> str:
    """Return the name of the file that holds the name of a domain's last batch of assessments."""
    return f"batches/latest-assessments-{domain}"


def read_judged(batch: AssessmentBatch) -> list[Judged]:
    """Read the transcripts of a batch with what was decided of them and what each judge said."""
    return [_judged(item) for item in batch.assessments]


def caveats_of(judged: list[Judged], found: Figures) -> list[str]:
    """Return what must be known before the figures of a batch are believed."""
    return sorted({item.decided.caveat for item in judged if item.decided.caveat}) + own_family(found)


def _judged(item: AssessmentRef) -> Judged:
    decided = _assessment(item.path)
    by_judge = {judge: _assessment(path) for judge, path in item.by_judge.items()} or {decided.judge: decided}
    return Judged(transcript=open_store().record(item.transcript.path, Transcript), decided=decided, by_judge=by_judge)


def _assessment(path: str) -> Assessment:
    return open_store().record(path, Assessment)


def _table(found: Figures) -> list[dict[str, Any]]:
    return [
        {
            "criterion": f"{rate.criterion.id} {rate.criterion.head.name}",
            "category": rate.criterion.head.category or "gate",
            "passes": f"{rate.passing.value:.0%} of {rate.passing.n}" if rate.passing.value is not None else "none",
            **{answer.value: rate.answers[answer] for answer in Answer},
        }
        for rate in found.criteria
    ]
