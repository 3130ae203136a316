"""Repairing transcripts that almost passed, or passed but are not gathered: one task for each; then the same judges judge the complete transcripts."""

from prefect.logging import get_run_logger

from core.dataset.repair import RepairContext, repair_transcript
from core.dataset.repair_plan import Chosen, RepairPlan, choose_repairs, repair_facts
from core.errors import RepairError, TranscriptError
from core.llm.run import Run
from core.records import (
    Assessment,
    AssessmentBatch,
    Reference,
    Transcript,
    TranscriptBatch,
    TranscriptRef,
)
from core.reports.render import markdown
from core.storage.batches import keep_batch
from tasks.artifacts import publish_report
from tasks.batches import gather_bounded
from tasks.owning import owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_recalled


class RepairRef(Reference):
    """A batch of assessments of repaired transcripts, and its main figures as text."""

    summary: dict[str, str]


@cached_task("repair", "repair {plan.transcript.id}")
async def repair_task(run: Run, plan: RepairPlan) -> TranscriptRef:
    """Repair one transcript and store it, unless it exists."""
    store, name, path = run.store, plan.name, plan.path
    if store.exists(path):
        repaired = store.load(path, Transcript)
        return existing(TranscriptRef(id=name, path=path, exchanges=len(repaired.exchanges)))
    model = await open_recalled(run, plan.repairer, name)
    context = RepairContext(run.pack, model, plan.numbers, plan.minimum, plan.guards, plan.gather)
    original = store.load(plan.transcript.path, Transcript)
    assessment = store.load(plan.assessment, Assessment)
    try:
        transcript = await repair_transcript(context, original, assessment, name)
    except RepairError as error:
        raise TranscriptError(str(error)) from error  # leaves out this transcript and does not end the batch
    store.write_json(path, transcript)
    model.remove()
    return TranscriptRef(id=name, path=path, exchanges=len(transcript.exchanges))


async def repair_batch(run: Run, assessed: str | None) -> tuple[Chosen, str]:
    """Choose the transcripts to repair, and repair them, several in parallel.

    Args:
        run: the run.
        assessed: name of a batch of assessments; None for the domain's latest.

    Returns:
        The chosen transcripts, and the path of the batch of repaired transcripts below the data root.
    """
    chosen = choose_repairs(run, assessed)
    failed = len(chosen.plans) + len(chosen.left_out)
    get_run_logger().info("%d of %d transcripts that failed or were not gathered can be repaired.", len(chosen.plans), failed)

    async def repair(plan: RepairPlan) -> TranscriptRef:
        async with owned(run.store, f"repaired/{plan.name}"):
            return await run_cached(repair_task, run, plan)

    names, limit = [plan.transcript.id for plan in chosen.plans], run.settings.repair.concurrency
    async with concurrency_slot(run, ("repairer",)):
        refs, left_out = await gather_bounded(run, repair, chosen.plans, names, limit, "Repaired")
    log_bill(run)
    batch = TranscriptBatch(domain=run.pack.name, transcripts=refs, left_out=left_out)
    return chosen, keep_batch(run.store, batch)


async def publish_repairs(run: Run, chosen: Chosen, assessed: str) -> RepairRef:
    """Write and publish the report: what was repaired, what can be trained on now, and what a rescued transcript costs compared with a new one."""
    store = run.store
    facts = repair_facts(run, chosen, store.load(assessed, AssessmentBatch))
    folder = assessed.replace("batches/", "reports/").removesuffix(".json")
    text = markdown("repair", facts=facts)
    page = store.write(f"{folder}/repairs.md", text)
    await publish_report(text, key=f"repair-{run.pack.name}", description="Repaired transcripts")
    get_run_logger().info(
        "%d repaired transcripts, %d of them can be trained on. The report: %s/%s",
        *(facts["repaired"], facts["passed"], store.root, page),
    )
    summary = {
        "repaired": f"{facts['repaired']} of {facts['failed']} that failed or were not gathered",
        "passed": str(facts["passed"]),
        "cost": facts["cost"],
        "report": f"{store.root}/{page}",
    }
    return RepairRef(path=assessed, summary=summary)
