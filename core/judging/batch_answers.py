"""Waiting for a judge's batch, and moving its answers into the logs of the assessments."""

import asyncio
import time
from collections import Counter
from contextlib import suppress

from core.errors import (
    BadRequestError,
    MalformedError,
    ModelError,
    ModelTimeoutError,
    RunStoppedError,
    UnansweredError,
    UnavailableError,
    UnknownModelError,
)
from core.judging.batch_desk import BatchDesk
from core.judging.batch_records import FOLDER, BatchRecord, path_of, request_print
from core.judging.judge import open_calls
from core.judging.judge_call import keep, reading_request
from core.llm.batches import FIRST_PAUSE, MAX_PAUSE, SUBMIT_SECONDS, Progress, Result, in_time, refused, with_retries
from core.llm.till import Till, clean
from core.storage.locks import owning

CANCEL_SECONDS = 900.0
"""How long a batch that was cancelled at the deadline may take to end."""


async def finish(desk: BatchDesk, record: BatchRecord, wait: bool = True) -> None:
    """Wait for a batch and take its answers; without `wait`, take them if it has ended.

    Raises:
        HeldError: another run waits for the batch, and `wait` is false.
        RunStoppedError: the provider refused every request, or too many of the judge's verdicts say nothing.
        UnavailableError: the batch has not ended, and `should_stop` returned true.
        ModelError: the provider does not answer.
    """
    store, path, lock = desk.run.store, path_of(desk.run.pack.name, record.label), f"{FOLDER}/{record.label}"
    async with desk.hold(lock, f"Batch {record.ids[0]}") if wait else owning(store, lock):
        if not store.exists(path):
            return  # another run has taken its answers
        for batch in record.ids:
            progress = await _end_of(desk, record, batch, wait)
            if progress is None:
                return
            if progress.refused:
                desk.give_back(record)
                if not wait:
                    return
                raise refused(desk.choice.reference, progress.refused)
            if await _take(desk, record, batch, progress.complete):
                return
        desk.give_back(record)


async def _end_of(desk: BatchDesk, record: BatchRecord, batch: str, wait: bool) -> Progress | None:
    """Wait until a batch has ended, and return its state.

    Return None if `wait` is false and the batch has not ended, or if its answers are lost: the provider does not know it, or it does not end in time.
    """
    pause, deadline, stopping, reference = FIRST_PAUSE, record.at + desk.deadline_seconds, False, desk.choice.reference
    while True:
        try:
            progress = await in_time(desk.batches.look(batch), desk.run.settings.calls.timeout_seconds)
        except UnknownModelError as error:
            _gone(desk, record, batch, error)
            return None
        except ModelError as error:
            if not error.retryable or not wait:
                raise
            progress = Progress(False, 0, len(record.asked))  # the provider continues while it cannot be reached
        desk.show(progress.done, len(record.asked))
        if progress.ended:
            return progress
        if not wait:
            return None
        if desk.should_stop():
            raise UnavailableError(
                f"Batch {batch} of {reference} has not ended ({progress.done} of {len(record.asked)} answered). The next night, or the same command, "
                "collects its answers; nothing is asked or paid for twice."
            )
        if time.time() > deadline and not stopping:
            desk.tell(f"{reference}: batch {batch} is {desk.deadline_seconds / 3600:.0f} hours old and is cancelled; requests without an answer are sent live.")
            with suppress(BadRequestError):  # it has ended meanwhile
                await with_retries(lambda: desk.batches.cancel(batch), SUBMIT_SECONDS)
            stopping, deadline = True, time.time() + CANCEL_SECONDS
        elif time.time() > deadline:
            desk.settle_all(record, ModelTimeoutError(f"Batch {batch} does not end."))
            return None
        try:
            await asyncio.sleep(pause)
        except asyncio.CancelledError:
            desk.tell(f"{reference}: batch {batch} stays with the provider. The same command collects its answers.")
            raise
        pause = min(MAX_PAUSE, 1.5 * pause)


def _gone(desk: BatchDesk, record: BatchRecord, batch: str, error: UnknownModelError) -> None:
    """Charge a batch that the provider no longer has, or whose results it no longer has."""
    desk.tell(f"{desk.choice.reference}: batch {batch} is gone ({error}). Its requests are charged at the most that they can have cost, and sent again.")
    desk.settle_all(record, ModelError("The provider has no such batch."))


async def _take(desk: BatchDesk, record: BatchRecord, batch: str, complete: bool) -> bool:
    """Charge and store the answers of a batch; return false if none of its results belongs to the record."""

    async def read() -> list[Result]:
        return [result async for result in desk.batches.results(batch)]

    try:
        results = await with_retries(read, SUBMIT_SECONDS)
    except UnknownModelError as error:
        _gone(desk, record, batch, error)
        return True
    except MalformedError as error:
        if time.time() < record.at + desk.deadline_seconds:
            raise
        desk.tell(f"{desk.choice.reference}: the results of batch {batch} cannot be read ({error}). It is charged at the most that it can have cost.")
        desk.settle_all(record, error)
        return True
    # of several results of a request, one with a reply counts: it was billed
    matches = {result.name: result for result in sorted(results, key=lambda result: result.reply is not None) if result.name in record.asked}
    if results and not matches and record.state != "accepted":
        return False
    # a result that names no request of the record was billed, and may be the answer to any request without a result
    billed = complete or any(result.name not in record.asked for result in results)
    missing = MalformedError("are not among the results") if billed else UnansweredError("no answer")
    ledger = desk.ledger(record)
    uncharged, till = set(desk.uncharged(record, ledger)), desk.till(ledger)
    why, stopped = Counter[str](), list[RunStoppedError]()
    for name in record.asked:
        result = matches.get(name) or Result(name, error=missing)
        try:
            problem = await _take_one(desk, record, result, till, name in uncharged)
        except RunStoppedError as error:  # raised below, because the other answers are paid for, too
            stopped.append(error)
            continue
        why.update([str(problem)[:100]] if problem else [])
    desk.run.store.remove(path_of(desk.run.pack.name, record.label))
    lost = f"; {why.total()} are asked live ({', '.join(f'{count} {reason}' for reason, count in why.most_common(3))})" if why else ""
    desk.tell(f"{desk.choice.reference}: {len(record.asked) - why.total() - len(stopped)} answers of batch {batch} are stored{lost}.")
    if stopped:
        raise stopped[0]
    return True


async def _take_one(desk: BatchDesk, record: BatchRecord, result: Result, till: Till, charge: bool) -> ModelError | None:
    """Check one answer as a live one is checked, and store it; return why it cannot be used, or None.

    Args:
        charge: whether the ledger has no charge for it yet.
    """
    asked = record.asked[result.name]
    if result.reply is None:
        error = result.error or UnansweredError("no answer")
        if charge:
            till.settle_failure(record.sent(result.name), error, 0.0)
        return error
    async with desk.opened(record.plans[asked.assessment], asked.assessment) as context:
        call = next((call for call in open_calls(context, context.log.answers) if call.name == asked.call), None) if context else None
        request, judgements = reading_request(context, call) if context and call else (record.sent(result.name).request, [])
        if request_print(request) != asked.request:  # the call is answered already, or the pack has changed
            call, request = None, record.sent(result.name).request
        reply = clean(result.reply, request)
        try:
            problem = till.settle(record.sent(result.name, request), reply, 0.0)[1] if charge else till.problem(request, reply)
        finally:
            if context:
                context.log.keep_heard()
        if context and call and problem is None:
            keep(context, call, judgements[-1])
    return problem
