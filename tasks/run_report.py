"""Publishing the report on a run of the pipeline: in the run's folder and as a Prefect artifact."""

from core.escaping import Markdown
from core.evaluation.page import evaluation_page
from core.evaluation.record import EvaluationRecord, facts_of_run
from core.evaluation.report import evaluation_markdown
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import DatasetRef, EvaluationRef, ModelRef, Reference
from core.reports.render import markdown
from core.reports.run_report import run_facts, run_summary
from tasks.artifacts import publish_report


class ReportRef(Reference):
    """A run's folder, and its main figures as text."""

    summary: dict[str, str]


async def publish_run(run: Run, assessed: str, dataset: DatasetRef, adapter: ModelRef, models: dict[str, ModelRef], evaluation: EvaluationRef) -> ReportRef:
    """Write `report.md`, `report.html` and `summary.json` from the results of all stages into the run's folder, and publish the report."""
    store, facts = run.store, run_facts(run, assessed, dataset, adapter, models)
    domain, evaluated = facts["domain"], facts_of_run(run, store.load(evaluation.path, EvaluationRecord))
    folder = f"runs/{domain}-{fingerprint([assessed, dataset, adapter.path, evaluation.path])}"
    run_report = markdown("report", facts=facts)
    text = Markdown(f"{evaluation_markdown(evaluated).rstrip()}\n\n{run_report}")
    store.write(f"{folder}/report.md", text)
    store.write(f"{folder}/report.html", evaluation_page(evaluated, run_report))
    summary = run_summary(facts, evaluation.summary, str(store.root), f"{folder}/report.html")
    store.write_json(f"{folder}/summary.json", summary)
    await publish_report(text, key=f"run-{domain}", description="Report of a run of the pipeline")
    return ReportRef(path=folder, summary=summary)
