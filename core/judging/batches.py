"""Judging at half the price: a judge's first calls go to its provider in batches, and the answers go into the logs of the assessments.

Ordinary judging finds them there. It makes the calls that remain: those without an answer or with an unusable one, and those that confirm failed gates.
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
from core.judging.judge import open_calls
from core.judging.judge_call import check_fits, reading_request
from core.judging.plan import AssessmentPlan
from core.llm.batches import LARGEST_BYTES, find, name_of, submit
from core.llm.chat import ChatRequest
from core.records import Transcript


@dataclass(frozen=True)
class Due:
    """A request that is due.

    Args:
        name: of the assessment.
        plan: of the assessment.
        call: name of the call within the assessment.
        request: what the call sends.
    """

    name: str
    plan: AssessmentPlan
    call: str
    request: ChatRequest


def new_label() -> str:
    """Return a label that no other batch has."""
    return f"understudy-{secrets.token_hex(8)}"


async def ask_in_batches(desk: BatchDesk, plans: Sequence[AssessmentPlan]) -> set[str]:
    """Send the assessments' first calls that no log answers to the provider in batches, wait, and store the answers in the logs.

    Returns:
        The ids of the transcripts for which the budget is too small.

    Raises:
        RunStoppedError: the provider does not accept a batch, or too many of the judge's verdicts say nothing.
        UnavailableError: a batch has not ended and `should_stop` returned true, or its provider does not answer; its record is kept.
    """
    try:
        return await _ask(desk, plans)
    except ModelError as error:
        raise UnavailableError(f"{error} What is in a batch stays there: the same command collects its answers.") from error


async def _ask(desk: BatchDesk, plans: Sequence[AssessmentPlan]) -> set[str]:
    named, tried = _named(desk, plans), set[tuple[str, str]]()
    while True:
        async with desk.hold(f"{FOLDER}/{desk.run.pack.name}-{desk.choice.reference.replace('/', '-')}", "A batch"):
            records = read_records(desk.run.store, desk.run.pack.name, desk.choice)
            under_way = [submitted for record in records if (submitted := await _submitted(desk, record))]
            taken = tried.union(*(record.calls for record in under_way))
            new, unasked = await _submit_all(desk, _due(desk, named, taken))
        ours = [*(record for record in under_way if not named.keys().isdisjoint(record.plans)), *new]
        for record in [record for record in under_way if record not in ours]:  # of other commands
            with suppress(HeldError, ModelError):
                await finish(desk, record, wait=False)
        if not ours:
            return unasked
        for record in ours:  # the provider works on all of them at once
            await finish(desk, record)
        tried.update(*(record.calls for record in ours))


def _named(desk: BatchDesk, plans: Sequence[AssessmentPlan]) -> dict[str, AssessmentPlan]:
    """Return the plans by the names of their assessments; a transcript that cannot be read is left out, because ordinary judging reports it."""
    named = {}
    for plan in plans:
        with suppress(DamagedError):
            named[plan.place(desk.run.store.load(plan.transcript.path, Transcript))[0]] = plan
    return named


async def _due(desk: BatchDesk, named: Mapping[str, AssessmentPlan], taken: Set[tuple[str, str]]) -> AsyncGenerator[Due]:
    """Yield the requests that are due; calls that confirm gates are left to ordinary judging, because they are few and would wait for another batch.

    Args:
        named: plans by assessment name.
        taken: (assessment, call) of the calls that a batch has already made.
    """
    if desk.should_stop():
        return
    for name, plan in named.items():
        requests = []
        async with desk.opened(plan, name) as context:
            for call in open_calls(context, context.log.answers) if context else []:
                if context and call.again == 0 and (name, call.name) not in taken:
                    request, _ = reading_request(context, call)
                    with suppress(ContextError):
                        check_fits(context, request)
                        requests.append(Due(name, plan, call.name, request))
        for due in requests:
            yield due


async def _submit_all(desk: BatchDesk, requests: AsyncGenerator[Due]) -> tuple[list[BatchRecord], set[str]]:
    """Submit requests in as few batches as the provider's limits allow, until the budget is used up.

    Returns:
        The submitted batches, and the ids of the transcripts for which the budget is too small.
    """
    submitted, unasked, chunk, size = [], set[str](), list[tuple[Due, bytes]](), 0
    label = new_label()
    most = min(desk.batches.most_bytes, LARGEST_BYTES)
    async for due in requests:
        if unasked:
            unasked.add(due.plan.transcript.id)
            continue
        entry = desk.batches.entry(name_of(label, len(chunk)), due.request)
        if chunk and (size + len(entry) > most or len(chunk) >= desk.batches.most_requests):
            unasked |= await _submit(desk, label, chunk, submitted)
            label, chunk, size = new_label(), [], 0
            entry = desk.batches.entry(name_of(label, 0), due.request)
        chunk.append((due, entry))
        size += len(entry)
    # once the budget is used up, the requests read since then are not sent
    unasked |= {due.plan.transcript.id for due, _ in chunk} if unasked else await _submit(desk, label, chunk, submitted)
    return submitted, unasked


async def _submit(desk: BatchDesk, label: str, chunk: Sequence[tuple[Due, bytes]], submitted: list[BatchRecord]) -> set[str]:
    """Submit a batch and add it to `submitted`; return the ids of the transcripts for which the budget is too small."""
    if not chunk:
        return set()
    store, domain, ledger = desk.run.store, desk.run.pack.name, desk.run.ledger
    names = [name_of(label, number) for number in range(len(chunk))]
    asked = {name: AskedInBatch(assessment=due.name, call=due.call, request=request_print(due.request)) for name, (due, _) in zip(names, chunk, strict=True)}
    plans = {due.name: due.plan for due, _ in chunk}
    record = BatchRecord(label=label, judge=desk.choice, run=ledger.run, at=time.time(), state="prepared", plans=plans, asked=asked)
    record.keep(store, domain)  # before anything is set aside: after a kill, these names tell what to release
    till, fitting = desk.till(ledger), {}
    with suppress(BudgetError):
        for name, (due, _) in zip(names, chunk, strict=True):
            sent = await till.reserve(due.request, None, name)
            most = {"most_input": sent.most.input_tokens, "most_output": sent.most.output_tokens, "usd": sent.usd}
            fitting[name] = asked[name].model_copy(update=most)
    beyond = {due.plan.transcript.id for due, _ in chunk[len(fitting) :]}
    if not fitting:
        store.remove(path_of(domain, label))
        return beyond
    record = record.model_copy(update={"asked": fitting, "state": "sent", "at": time.time()})
    record.keep(store, domain)
    try:
        ids, accepted = await submit(desk.batches, label, [entry for _, entry in chunk[: len(fitting)]])
    except UnavailableError:
        raise
    except RunStoppedError:
        desk.give_back(record)
        raise
    record = record.model_copy(update={"ids": ids, "state": "accepted" if accepted else "sent"})
    record.keep(store, domain)
    submitted.append(record)
    desk.tell(
        f"{desk.choice.reference}: {len(fitting)} requests are submitted as batch {ids[0]}, at half the price. It is answered within 24 hours; if this run "
        "ends before that, the same command collects its answers."
    )
    return beyond


async def _submitted(desk: BatchDesk, record: BatchRecord) -> BatchRecord | None:
    """Return the submitted batch of a record on disk; None if the provider has no such batch, whose reserved money is then released.

    A run holds a lock while it submits, and this function runs under that lock. A record that is not submitted is therefore of a run that was killed.
    """
    if record.state == "sent" and not record.ids:
        record = record.model_copy(update={"ids": await find(desk.batches, record.label, len(record.asked))})
        record.keep(desk.run.store, desk.run.pack.name)
        if record.ids:
            desk.tell(f"{desk.choice.reference}: batch {record.ids[0]} of a run that was killed is found by its label, {record.label}.")
    if not record.ids:
        desk.give_back(record)
    return record if record.ids else None
