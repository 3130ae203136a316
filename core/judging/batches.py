"""Judging at half the price: what a judge is to be asked first goes to its provider in batches, and the answers into the logs of the assessments.

The ordinary judging finds them there, and asks for what is missing: what the provider did not answer, what cannot be used, and the gates that are to be
confirmed.
"""

import secrets
import time
from collections.abc import AsyncGenerator, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass

from core.errors import BudgetError, ContextError, DamagedError, HeldError, ModelError, RunStoppedError, UnavailableError
from core.judging.batch_answers import finish
from core.judging.batch_desk import BatchDesk
from core.judging.batch_records import FOLDER, AskedInBatch, BatchRecord, path_of, read_records, request_print
from core.judging.judge import check_fits, open_calls, reading_request
from core.judging.plan import AssessmentPlan
from core.llm.batches import LARGEST_BYTES, find, name_of, submit
from core.llm.chat import ChatRequest
from core.records import Transcript


@dataclass(frozen=True)
class Due:
    """A request that is to be made.

    Args:
        name: of the assessment; call: which of its calls.
    """

    name: str
    plan: AssessmentPlan
    call: str
    request: ChatRequest


def new_label() -> str:
    """Return a label that no other batch has."""
    return f"understudy-{secrets.token_hex(8)}"


async def ask_in_batches(desk: BatchDesk, plans: Sequence[AssessmentPlan]) -> set[str]:
    """Have everything asked in batches that assessments ask first and no log answers, and take the answers.

    Returns:
        The ids of the transcripts for which the budget is too small.

    Raises:
        RunStoppedError: the provider does not take a batch, or the judge says nothing too often.
        UnavailableError: a batch has not ended, and `should_stop` says so, or its provider does not answer; its record is kept.
    """
    try:
        return await _ask(desk, plans)
    except ModelError as error:
        raise UnavailableError(f"{error} What is in a batch stays there: the same command collects its answers.") from error


async def _ask(desk: BatchDesk, plans: Sequence[AssessmentPlan]) -> set[str]:
    named, tried = _named(desk, plans), set[tuple[str, str]]()
    while True:
        async with desk.hold(f"{FOLDER}/{desk.run.pack.name}-{desk.choice.reference.replace('/', '-')}", "A batch"):
            known = read_records(desk.run.store, desk.run.pack.name, desk.choice)
            under_way = [found for record in known if (found := await _submitted(desk, record))]
            taken = tried.union(*(record.calls for record in under_way))
            made, unasked = await _submit_all(desk, _due(desk, named, taken))
        ours = [*(record for record in under_way if not named.keys().isdisjoint(record.plans)), *made]
        for record in [record for record in under_way if record not in ours]:  # of other commands
            with suppress(HeldError, ModelError):
                await finish(desk, record, wait=False)
        if not ours:
            return unasked
        for record in ours:  # the provider answers them side by side
            await finish(desk, record)
        tried.update(*(record.calls for record in ours))


def _named(desk: BatchDesk, plans: Sequence[AssessmentPlan]) -> dict[str, AssessmentPlan]:
    """Return the plans by the names of their assessments; the ordinary judging says which transcript cannot be read."""
    found = {}
    for plan in plans:
        with suppress(DamagedError):
            found[plan.place(desk.run.store.load(plan.transcript.path, Transcript))[0]] = plan
    return found


async def _due(desk: BatchDesk, named: Mapping[str, AssessmentPlan], taken: Set[tuple[str, str]]) -> AsyncGenerator[Due]:
    """Return the requests that are to be made; gates are confirmed by ordinary calls, because they are few and would wait for another batch."""
    if desk.should_stop():
        return
    for name, plan in named.items():
        due = []
        async with desk.opened(plan, name) as context:
            for call in open_calls(context, context.log.answers) if context else []:
                if context and call.again == 0 and (name, call.name) not in taken:
                    request, _ = reading_request(context, call)
                    with suppress(ContextError):
                        check_fits(context, request)
                        due.append(Due(name, plan, call.name, request))
        for one in due:
            yield one


async def _submit_all(desk: BatchDesk, due: AsyncGenerator[Due]) -> tuple[list[BatchRecord], set[str]]:
    """Submit requests in as few batches as the provider takes, as far as the budget goes; return the batches, and the transcripts beyond it."""
    made, unasked, chunk, size = [], set[str](), list[tuple[Due, bytes]](), 0
    label = new_label()
    most = min(desk.batches.most_bytes, LARGEST_BYTES)
    async for one in due:
        if unasked:
            unasked.add(one.plan.transcript.id)
            continue
        entry = desk.batches.entry(name_of(label, len(chunk)), one.request)
        if chunk and (size + len(entry) > most or len(chunk) >= desk.batches.most_requests):
            unasked |= await _submit(desk, label, chunk, made)
            label, chunk, size = new_label(), [], 0
            entry = desk.batches.entry(name_of(label, 0), one.request)
        chunk.append((one, entry))
        size += len(entry)
    # of what was read after the budget was spent, nothing was sent
    unasked |= {one.plan.transcript.id for one, _ in chunk} if unasked else await _submit(desk, label, chunk, made)
    return made, unasked


async def _submit(desk: BatchDesk, label: str, chunk: Sequence[tuple[Due, bytes]], made: list[BatchRecord]) -> set[str]:
    """Submit a batch and add it to `made`; return the transcripts for which the budget is too small."""
    if not chunk:
        return set()
    store, domain, ledger = desk.run.store, desk.run.pack.name, desk.run.ledger
    names = [name_of(label, number) for number in range(len(chunk))]
    asked = {name: AskedInBatch(assessment=one.name, call=one.call, request=request_print(one.request)) for name, (one, _) in zip(names, chunk, strict=True)}
    plans = {one.name: one.plan for one, _ in chunk}
    record = BatchRecord(label=label, judge=desk.choice, run=ledger.run, at=time.time(), state="prepared", plans=plans, asked=asked)
    record.keep(store, domain)  # before anything is set aside: what a kill leaves behind is given back by these names
    till, fitting = desk.till(ledger), {}
    with suppress(BudgetError):
        for name, (one, _) in zip(names, chunk, strict=True):
            sent = await till.reserve(one.request, None, name)
            most = {"most_input": sent.most.input_tokens, "most_output": sent.most.output_tokens, "usd": sent.usd}
            fitting[name] = asked[name].model_copy(update=most)
    beyond = {one.plan.transcript.id for one, _ in chunk[len(fitting) :]}
    if not fitting:
        store.remove(path_of(domain, label))
        return beyond
    record = record.model_copy(update={"asked": fitting, "state": "sent", "at": time.time()})
    record.keep(store, domain)
    try:
        ids = await submit(desk.batches, label, [entry for _, entry in chunk[: len(fitting)]])
    except UnavailableError:
        raise
    except RunStoppedError:
        desk.give_back(record)
        raise
    record = record.model_copy(update={"ids": ids})
    record.keep(store, domain)
    made.append(record)
    desk.tell(
        f"{desk.choice.reference}: {len(fitting)} requests are submitted as batch {ids[0]}, at half the price. It is answered within 24 hours; if this run "
        "ends before, the same command takes its answers."
    )
    return beyond


async def _submitted(desk: BatchDesk, record: BatchRecord) -> BatchRecord | None:
    """Return the batch of a record that is on disk, whose process may have been killed; none if the provider has none.

    Who submits holds a lock meanwhile, so that what is not submitted yet never will be.
    """
    if record.state == "sent" and not record.ids:
        record = record.model_copy(update={"ids": await find(desk.batches, record.label, len(record.asked))})
        record.keep(desk.run.store, desk.run.pack.name)
        if record.ids:
            desk.tell(f"{desk.choice.reference}: batch {record.ids[0]} of a run that was ended is found by its label, {record.label}.")
    if not record.ids:
        desk.give_back(record)
    return record if record.ids else None
