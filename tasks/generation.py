"""Rehearsal: one task for each conversation."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

from prefect.logging import get_run_logger

from core.llm.run import Run
from core.records import TranscriptBatch, TranscriptRef
from core.rehearsal.conversation import rehearse
from core.rehearsal.plan import Plans, RehearsalPlan
from core.rehearsal.turn_log import FOLDER, TurnLog
from core.reports.left_out import fail_if_nothing
from core.reports.progress import Progress
from core.storage.batches import keep_batch
from tasks.batches import gather_bounded
from tasks.owning import LOCK, owned
from tasks.policy import cached_task, existing, run_cached
from tasks.progress import report_progress
from tasks.run import concurrency_slot, log_bill, open_model

PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)
"""Progress of the current batch; None outside a batch."""


@cached_task("rehearse", "rehearse persona {plan.persona.seed}")
async def rehearse_task(run: Run, plan: RehearsalPlan) -> TranscriptRef:
    """Play one conversation and store it, unless it exists."""
    progress = PROGRESS.get() or Progress(1, plan.persona.exchanges)
    if ref := plan.existing(run.store):
        progress.end(ref.id, plan.persona.exchanges, ref.exchanges)
        return existing(ref)
    name, path = plan.name, plan.path
    user, assistant = await open_model(run, plan.user_simulator), await open_model(run, plan.assistant)
    lock = LOCK.get()
    log = TurnLog(run.store, name, lambda: progress.say(name), lock)
    if log.damage:
        get_run_logger().warning(log.damage)
    plan_file = run.store.write_json(f"{FOLDER}/{name}.json", plan)  # says in the studio who speaks in the log
    progress.resume(name, len(log.turns) // 2)
    transcript = await rehearse(run.pack, plan.persona, plan.cast(user, assistant, run.context(plan.assistant)), name, plan.trial, log)
    if lock:
        lock.check()
    run.store.write_json(path, transcript)
    log.remove()
    run.store.remove(plan_file)
    progress.end(name, plan.persona.exchanges, len(transcript.exchanges))  # counted here, because Prefect records the end of a task later
    return TranscriptRef(id=name, path=path, exchanges=len(transcript.exchanges))


async def rehearsed(run: Run, plan: RehearsalPlan) -> TranscriptRef:
    """Return the transcript of a conversation, which is played unless it exists; only one run at a time plays it.

    Raises:
        HeldError: another run is playing it.
        ModelError: a model gave no usable message.
        DamagedError: the existing file is not a transcript.
    """
    async with owned(run.store, f"{FOLDER}/{plan.name}"):
        return await run_cached(rehearse_task, run, plan)


async def rehearse_batch(plans: Sequence[RehearsalPlan], run: Run, should_stop: Callable[[], bool] = lambda: False) -> str:
    """Rehearse many conversations concurrently.

    Args:
        plans: one plan for each conversation.
        run: the run.
        should_stop: returns whether no further conversation may be started.

    Returns:
        Path of the batch's file below the data root.
    """
    seeds = plans.seeds if isinstance(plans, Plans) else [plan.persona.seed for plan in plans]
    exchanges = plans.exchanges if isinstance(plans, Plans) else sum(plan.persona.exchanges for plan in plans)
    names, progress = [f"persona {seed}" for seed in seeds], Progress(len(plans), exchanges)
    PROGRESS.set(progress)

    async def play(plan: RehearsalPlan) -> TranscriptRef:
        return await rehearsed(run, plan)

    key, limit = f"generation-{run.pack.name}", run.settings.generation.concurrency
    async with concurrency_slot(run, ("user_simulator", "assistant")), report_progress(run, progress, key):
        refs, left_out = await gather_bounded(
            run, play, plans, names, limit, "Rehearsed", lambda: progress.line(run.ledger.bill), should_stop, count_items=False
        )
    log_bill(run)
    batch = TranscriptBatch(domain=run.pack.name, transcripts=refs, left_out=left_out)
    return keep_batch(run.store, batch)


def check_rehearsed(run: Run, batch_path: str) -> None:
    """Check that a batch has at least one conversation.

    Raises:
        NothingMadeError: every conversation failed.
    """
    batch = run.store.load(batch_path, TranscriptBatch)
    fail_if_nothing(len(batch.transcripts), batch.left_out, "conversations")
