"""What an evaluation ends with: its figures as a file, a report, a page, an artifact in the Prefect UI, and a section of the understudy's card."""

from prefect.logging import get_run_logger

from core.evaluation.arms import UNDERSTUDY
from core.evaluation.facts import Conversation, EvaluationFacts
from core.evaluation.page import evaluation_page
from core.evaluation.record import FILE, EvaluationRecord, PlayedFiles, facts_of, summary
from core.evaluation.report import card_results, evaluation_markdown, evaluation_section
from core.fingerprint import fingerprint
from core.llm.ledger import bills
from core.llm.run import Run
from core.records import Assessment, EvaluationRef, Transcript
from core.storage.store import Store
from core.training.latest import Exported
from tasks.artifacts import publish_report
from tasks.general_prompts import ITEM
from tasks.publishing import publish_results


async def publish_evaluation(run: Run, record: EvaluationRecord, exported: Exported | None) -> EvaluationRef:
    """Write and publish all that an evaluation tells.

    Args:
        exported: the published files of which the understudy's card is to tell, where it was they that played.
    """
    store, facts = run.store, evaluation_facts(run, record)
    folder = f"evaluations/{record.domain}-{fingerprint(record)}"
    path = store.write_json(f"{folder}/{FILE}", record)
    text = evaluation_markdown(facts)
    store.write(f"{folder}/report.md", text)
    page = store.write(f"{folder}/report.html", evaluation_page(facts))
    await publish_report(text, key=f"evaluation-{record.domain}", description="The arms of an evaluation compared")
    get_run_logger().info("The evaluation: %s/%s", store.root, page)
    if exported and record.files.get(UNDERSTUDY, "").startswith(f"{exported.understudy.path}/"):
        await publish_results(run, exported.understudy, evaluation_section(facts, UNDERSTUDY), card_results(facts, UNDERSTUDY))
    return EvaluationRef(path=path, summary=summary(record) | {"report": f"{store.root}/{page}"})


def read_evaluation(run: Run, path: str) -> EvaluationFacts:
    """Read a finished evaluation with all its words and its bill."""
    return evaluation_facts(run, run.store.load(path, EvaluationRecord))


def evaluation_facts(run: Run, record: EvaluationRecord) -> EvaluationFacts:
    """Return all that is known of an evaluation."""
    ids = {item.transcript_id for item in record.played}
    spent = bills(run.store, run.ledger.run, lambda item: item in ids or item.startswith(ITEM))
    return facts_of(record, run.pack, [_conversation(run.store, item) for item in record.conversations], spent)


def _conversation(store: Store, item: PlayedFiles) -> Conversation:
    transcript, assessment = store.load(item.transcript, Transcript), store.load(item.assessment, Assessment)
    return Conversation(item.arm, item.persona, item.trial, transcript, assessment)
