"""Publishing an evaluation: its figures as a file, a report, a page, an artifact in the Prefect UI, and a section of the understudy's card."""

from prefect.logging import get_run_logger

from core.evaluation.blind_review import latest_evaluation
from core.evaluation.page import evaluation_page
from core.evaluation.record import FILE, EvaluationRecord, facts_of_run, summary
from core.evaluation.report import card_results, evaluation_markdown, evaluation_section
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import EvaluationRef
from core.settings.arms import PREFERRED, UNDERSTUDY
from core.training.latest import Exported
from core.training.specs import GGUF_PARTS
from tasks.artifacts import publish_report, publish_studio_link
from tasks.publishing import publish_results


async def publish_evaluation(run: Run, record: EvaluationRecord, exported: Exported | None) -> EvaluationRef:
    """Write the figures, the report and the page of an evaluation, and publish them.

    Args:
        run: the run.
        record: the figures.
        exported: the export whose card gets the results, if its files were the arms; None if there is none.
    """
    store, facts = run.store, facts_of_run(run, record)
    folder = f"evaluations/{record.domain}-{fingerprint(record)}"
    path = store.write_json(f"{folder}/{FILE}", record)
    store.write(latest_evaluation(record.domain), folder)
    text = evaluation_markdown(facts)
    store.write(f"{folder}/report.md", text)
    page = store.write(f"{folder}/report.html", evaluation_page(facts))
    await publish_report(text, key=f"evaluation-{record.domain}", description="The arms of an evaluation compared")
    await publish_studio_link(f"/{folder}", "evaluation", "The conversations of all arms, side by side")
    get_run_logger().info("The evaluation: %s/%s", store.root, page)
    for arm, gguf in ((UNDERSTUDY, exported.understudy), (PREFERRED, exported.preferred)) if exported else ():
        if gguf and record.files.get(arm, "").startswith(f"{gguf.path}/"):
            await publish_results(run, gguf, GGUF_PARTS[arm], evaluation_section(facts, arm), card_results(facts, arm))
    return EvaluationRef(path=path, summary=summary(record) | {"report": f"{store.root}/{page}"})
