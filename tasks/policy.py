"""How Prefect runs the tasks: small results named by content, many tasks concurrently, progress reported."""

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import FlowRunContext, TaskRunContext
from prefect.events import emit_event
from prefect.logging import get_run_logger
from prefect.states import Completed, State
from prefect.utilities.annotations import quote

from core.errors import BudgetError, DamagedError, HeldError, ModelError, RunStoppedError, SettingsError, TranscriptError, UnderstudyError
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import LeftOut, Reference
from core.redaction import without_secrets
from core.reports.left_out import counted, first_of, sort_of
from core.storage.locks import pause
from core.storage.traces import leave_open
from core.terminal import moving_line
from tasks.owning import Elsewhere

BUDGET_EVENT = "understudy.budget-spent"
"""Emitted with the flow run as its resource, for automations (deployments/automations.py)."""

STEPS = 4
"""How often a batch's progress is logged."""


Item = TypeVar("Item")
P = ParamSpec("P")
Ref = TypeVar("Ref", bound=Reference)
Runnable = TypeVar("Runnable", bound=Flow[..., Any] | Task[..., Any])


def _result_name(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task.name}-{fingerprint({name: value for name, value in parameters.items() if name != 'run'})}"


def guarded(run: Runnable) -> Runnable:
    """Remove secrets from the errors of a flow or task: Prefect writes them into the state, and pickles them."""
    function = run.fn

    @wraps(function)
    async def clean(*arguments: Any, **named: Any) -> Any:
        try:
            return await function(*arguments, **named)
        except Exception as error:
            if (safe := without_secrets(error)) is error:
                raise
            raise safe.with_traceback(error.__traceback__) from error.__cause__

    run.fn = clean
    return run


def cached_task(name: str, run_name: str) -> Callable[[Callable[P, Coroutine[Any, Any, Ref]]], Task[P, Coroutine[Any, Any, Ref]]]:
    """Turn a function into a task. The function returns an existing result by `existing` before it makes a new one.

    Files and hubs alone say what exists. Prefect keeps each reference that a task returned, under a name made of the task and its parameters, and finds
    none by it: `refresh_cache` has every task look for itself.

    Args:
        name: of the task, whose first parameter is the run.
        run_name: of its runs, with the parameters' names in braces.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, Ref]]) -> Task[P, Coroutine[Any, Any, Ref]]:
        named = CacheKeyFnPolicy(cache_key_fn=_result_name)
        return guarded(Task(function, name=name, task_run_name=run_name, cache_policy=named, refresh_cache=True, persist_result=True, result_serializer="json"))

    return decorate


def existing(reference: Ref) -> Any:
    """Return what a task returns whose result existed: the Prefect UI then shows its run as Cached."""
    return Completed(name="Cached", message="Its result exists already.", data=reference)


async def run_cached(task: Task[..., Coroutine[Any, Any, Ref]], run: Run, *arguments: Any) -> Ref:
    """Await a `cached_task`; return the reference to what exists now.

    Prefect searches the parameters of tasks for results of others. The run is quoted to prevent that.
    """
    hidden: Any = quote(run)
    outcome: Any = await task(hidden, *arguments)
    return outcome.data.result if isinstance(outcome, State) else outcome


async def gather_bounded(
    run: Run,
    make: Callable[[Item], Awaitable[Ref]],
    items: Sequence[Item],
    names: Sequence[str],
    limit: int,
    doing: str | None,
    how_far: Callable[[], str] | None = None,
    should_stop: Callable[[], bool] = lambda: False,
    count_items: bool = True,
) -> tuple[list[Ref], list[LeftOut]]:
    """Run a task for each item, a bounded number in parallel.

    An item that another run is making is tried again until that run has made it or ended; the others come first. An item that a model or its
    file spoils is left out with the reason. A model that can no longer be called ends the batch: no item is started,
    and started ones continue as far as they can, so that no paid answer is lost. Any other error (a full disk, say) stops the batch immediately.
    What was made is on disk in each case.

    Args:
        make: awaits the task for one item.
        limit: how many in parallel.
        doing: the verb that is logged with the counts, such as "Rehearsed"; none logs no counts.
        how_far: returns the progress in place of the counts.
        should_stop: whether no further item may be started.
        count_items: whether the line on the terminal counts the items; not where the caller counts what they are made of.
    """
    slots = asyncio.Semaphore(limit)
    results: dict[int, Ref] = {}
    left_out: dict[int, LeftOut] = {}
    why: Counter[str] = Counter()
    logger = get_run_logger()

    stopped: list[UnderstudyError] = []
    elsewhere = Elsewhere(len(items))

    async def one(number: int) -> None:
        while await tried(number):
            await asyncio.sleep(pause(run.store))

    async def tried(number: int) -> bool:
        """Make an item; say whether it is to be tried again."""
        async with slots:
            elsewhere.remove(number)
            if stopped or should_stop():
                return False
            try:
                results[number] = await make(items[number])
            except HeldError as held:
                elsewhere.add(number, held)
                return True
            except (RunStoppedError, SettingsError) as error:
                stopped.append(error)
                return False
            except (ModelError, TranscriptError, DamagedError) as error:
                leave_open()
                left_out[number] = LeftOut(name=names[number], reason=str(error))
                why[sort_of(error)] += 1
                logger.warning("Left out %s: %s", names[number], error)
        done = len(results) + len(left_out)
        if doing and count_items:
            moving_line().move(doing, done, len(items), "")
        if doing and (done == len(items) or done % max(1, len(items) // STEPS) == 0):
            counts = how_far() if how_far else f"{len(results)} of {len(items)}"
            logger.info("%s %s%s.", doing, counts, f", {len(left_out)} left out ({counted(why)})" if left_out else "")
        return False

    try:
        async with asyncio.TaskGroup() as group:
            for number in range(len(items)):
                group.create_task(one(number))
    except* UnderstudyError as errors:
        raise first_of(errors) from None
    finally:
        elsewhere.end()
    if stopped:
        logger.info("%s %d of %d before the run was stopped; what was made is kept.", doing or "Done:", len(results), len(items))
        if isinstance(stopped[0], BudgetError):
            _emit_budget_event(stopped[0])
        raise stopped[0]
    return [results[number] for number in sorted(results)], [left_out[number] for number in sorted(left_out)]


def _emit_budget_event(error: BudgetError) -> None:
    context = FlowRunContext.get()
    if context and context.flow_run:
        run = context.flow_run
        emit_event(BUDGET_EVENT, {"prefect.resource.id": f"prefect.flow-run.{run.id}", "prefect.resource.name": run.name}, payload={"reason": str(error)})


class ReadableLog(logging.Filter):
    """Keeps a run's log readable: an error that a person can act on is logged once and without a traceback, a completed task not at all."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite or drop what Prefect logs of the ends of runs."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UnderstudyError):
            logged, error.logged = error.logged, True
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
            return not logged
        if record.msg.startswith("View at "):
            return False  # an address that ends with the command, or the UI that the reader is in
        if "Execution was cancelled by the runtime environment" in record.msg:
            return record.name == "prefect.flow_runs" and record.msg.startswith("Crash detected")  # Ctrl-C: one line a flow, none for each of many tasks
        if record.msg.startswith("Finished in state Failed("):
            record.msg = "Failed."  # the reason is in the line before and in the state
            return record.name == "prefect.flow_runs"
        return not (record.name == "prefect.task_runs" and record.msg.startswith("Finished in state"))


for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(ReadableLog())
