"""Publishing a batch of assessments: report, page and checkpoint in the batch's report folder, and artifacts in the Prefect UI."""

import time

from prefect.logging import get_run_logger

from core.fingerprint import fingerprint
from core.judging.calibration import measured_judges
from core.judging.checkpoints import write_checkpoint
from core.judging.figures import caveats_of, criteria_rows, figures
from core.judging.gather_rule import gather_rule
from core.judging.page import assessment_page
from core.judging.plan import read_judged
from core.llm.bills import bills
from core.llm.run import Run
from core.records import Assessment, AssessmentBatch, Outcome
from core.reports.render import assessment_markdown, folded_html
from core.storage.batches import latest_assessments, report_folder
from tasks.artifacts import publish_report, publish_studio_link, publish_table


async def publish_assessment(batch_path: str, run: Run, again: dict[str, list[str]]) -> None:
    """Write the report on a batch of assessments, and publish it in the Prefect UI.

    Args:
        batch_path: path of the batch below the data root.
        run: the run that judged it.
        again: by judge, the paths of its repeated assessments of a sample; empty if none were made.
    """
    store, logger, rubric = run.store, get_run_logger(), run.pack.rubric
    batch = store.load(batch_path, AssessmentBatch)
    judged = read_judged(store, batch)
    repeats = {judge: [store.load(path, Assessment) for path in paths] for judge, paths in again.items()}
    batch_figures = figures(judged, rubric, repeats, gather_rule(rubric, run.settings.gather))
    caveats = caveats_of(judged, batch_figures)
    measured = measured_judges(store, run.pack, batch.judges, run.settings.assessment.judging)
    text = assessment_markdown(batch_figures, batch, run.pack, caveats, bills(store, run.ledger.run), time.monotonic() - run.began, measured)
    folder = report_folder(batch_path) + (f"-{fingerprint(again)}" if again else "")
    store.write(f"{folder}/report.md", text)
    store.write(f"{folder}/checkpoint.jsonl", write_checkpoint(judged, rubric))
    store.write(f"{folder}/report.html", assessment_page(run.pack, judged, folded_html(text)))
    if any(item.outcome is not Outcome.INCOMPLETE for item in batch.assessments):  # otherwise an earlier batch with verdicts stays the latest
        store.write(latest_assessments(batch.domain), batch_path)
    for caveat in caveats:
        logger.warning("%s", caveat)
    await publish_report(text, key=f"assessment-{batch.domain}", description="Assessment of a batch of transcripts")
    await publish_table(criteria_rows(batch_figures), key=f"criteria-{batch.domain}", description="The answers to each criterion")
    await publish_studio_link(f"/{batch_path.removesuffix('.json')}", "batch", "The conversations and their verdicts")
