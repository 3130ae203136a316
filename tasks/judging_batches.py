"""Judging in the providers' batches, which cost less (`assessment.batch`): batches first, then ordinary calls for the transcripts that they left."""

import asyncio
from collections.abc import Callable, Sequence

from prefect.logging import get_run_logger

from blocks.chat import load_chat_model
from blocks.tokens import count_tokens
from core.errors import UnderstudyError
from core.judging.batch_desk import BatchDesk
from core.judging.batch_records import uncollected
from core.judging.batches import ask_in_batches
from core.judging.plan import plan_assessment
from core.llm.batches import Batching
from core.llm.models_asked import prices_of
from core.llm.run import Run
from core.llm.till import Till
from core.records import ModelChoice, TranscriptRef
from core.reports.left_out import first_of
from core.terminal import moving_line
from tasks.assessment import Judged, judge_transcripts
from tasks.owning import awaited
from tasks.run import open_model


async def judge_as_set(transcripts: Sequence[TranscriptRef], run: Run, should_stop: Callable[[], bool] = lambda: False) -> Judged:
    """Judge transcripts as `judge_transcripts` does, in batches if the settings say so.

    Args:
        transcripts: the transcripts.
        run: the run, with its judges.
        should_stop: returns whether no further assessment may be started, and waiting for a batch must end.

    Raises:
        UnavailableError: a batch has not ended, and `should_stop` ended the wait; the same command uses its answers later.
    """
    unasked = await _ask(transcripts, run, should_stop)
    refs, left_out = await judge_transcripts([item for item in transcripts if item.id not in unasked], run, should_stop)
    if unasked:  # judged last, because the budget ends with them
        beyond = [item for item in transcripts if item.id in unasked]
        get_run_logger().info("The budget is too small for %d more transcripts, even in a batch.", len(beyond))
        more, lost = await judge_transcripts(beyond, run, should_stop)
        refs, left_out = [*refs, *more], [*left_out, *lost]
    return refs, left_out


async def _ask(transcripts: Sequence[TranscriptRef], run: Run, should_stop: Callable[[], bool]) -> set[str]:
    """Ask in batches those judges whose providers offer batches; return the ids of transcripts for which the budget is too small."""
    batch = run.settings.assessment.batch
    desks = [desk for choice in run.models["judge"] if batch and (desk := await _desk(run, choice, should_stop))]
    if pending := uncollected(run.store, run.pack.name, [desk.choice for desk in desks]):
        text = "Batches that are paid for and still with the providers: %d (%s). Judge with them and assessment.batch: true to use their answers."
        get_run_logger().warning(text, len(pending), ", ".join(dict.fromkeys(pending)))
    if batch and not desks:
        names = ", ".join(choice.reference for choice in run.models["judge"])
        get_run_logger().info("assessment.batch has no effect: only Anthropic, OpenAI and Google offer batches, and the judge is %s.", names)
    asking = []
    try:
        async with asyncio.TaskGroup() as group:
            for desk in desks:
                plans = [plan_assessment(run, item, desk.choice) for item in transcripts]
                asking.append(group.create_task(ask_in_batches(desk, plans)))
    except* UnderstudyError as errors:
        raise first_of(errors) from None
    return set().union(*(task.result() for task in asking))


async def _desk(run: Run, choice: ModelChoice, should_stop: Callable[[], bool]) -> BatchDesk | None:
    """Return what is needed to ask a judge in batches; None if its provider offers no batches."""
    model, logger = await load_chat_model(choice, run.pack), get_run_logger()
    if not isinstance(model, Batching):
        return None
    prices = prices_of(run.settings, choice.reference, choice.block, batch=True)
    if prices.version and "no batch price" in prices.version:
        logger.warning("The price data has no batch price of %s: batches are charged at the usual price, which is higher.", choice.reference)
    return BatchDesk(
        run,
        choice,
        await open_model(run, choice),
        model.batches(),
        lambda ledger: Till(choice.reference, prices, ledger, logger.warning),
        count_tokens,
        lambda name, what: awaited(run.store, name, what),
        logger.info,
        lambda done, of: moving_line().move(f"Batch of {choice.reference}", done, of, ""),
        should_stop,
    )
