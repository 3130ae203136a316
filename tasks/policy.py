"""How Prefect runs the tasks: small results named by content, errors without secrets, a readable log."""

import logging
from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from prefect import Flow, Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import FlowRunContext, TaskRunContext
from prefect.logging import get_run_logger
from prefect.states import Completed, State
from prefect.utilities.annotations import quote

from core.errors import UnderstudyError
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import Reference
from core.redaction import without_secrets
from core.storage.batches import pages_of
from core.storage.store import open_store

P = ParamSpec("P")
Ref = TypeVar("Ref", bound=Reference)
Runnable = TypeVar("Runnable", bound=Flow[..., Any] | Task[..., Any])


def _result_name(context: TaskRunContext, parameters: dict[str, Any]) -> str:
    return f"{context.task.name}-{fingerprint({name: value for name, value in parameters.items() if name != 'run'})}"


def guarded(run: Runnable) -> Runnable:
    """Remove secrets from the errors of a flow or task: Prefect writes them into the state, and pickles them. A flow's last line names the page to open."""
    function = run.fn

    @wraps(function)
    async def clean(*arguments: Any, **named: Any) -> Any:
        try:
            made = await function(*arguments, **named)
            if isinstance(run, Flow) and (page := page_of(made)):
                get_run_logger().info("Open %s", page)
            return made
        except Exception as error:
            if (safe := without_secrets(error)) is error:
                raise
            raise safe.with_traceback(error.__traceback__) from error.__cause__

    run.fn = clean
    return run


def page_of(made: Any) -> str | None:
    """Return the page that shows what a flow made, or the address of what it published."""
    last = made[-1] if isinstance(made, tuple) else made
    summary, store = getattr(last, "summary", None) or {}, open_store()
    if page := summary.get("report") or summary.get("page"):
        return page
    if isinstance(last, str):
        return next((f"{store.root}/{page}" for page in pages_of(last) if store.exists(page)), None)
    url, card = getattr(last, "url", None), f"{getattr(last, 'path', '')}/README.md"
    return url or (f"{store.root}/{card}" if store.exists(card) else None)


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
        kept: dict[str, Any] = {"persist_result": True, "result_serializer": "json", "cache_result_in_memory": False}
        return guarded(Task(function, name=name, task_run_name=run_name, cache_policy=named, refresh_cache=True, **kept))

    return decorate


def existing(reference: Ref) -> Any:
    """Return what a task returns whose result existed: the Prefect UI then shows its run as Cached."""
    return Completed(name="Cached", message="Its result exists already.", data=reference)


async def run_cached(task: Task[..., Coroutine[Any, Any, Ref]], run: Run, *arguments: Any) -> Ref:
    """Await a `cached_task`; return the reference to what exists now.

    Prefect searches the parameters of tasks for results of others. All are quoted to prevent that, and the results that it remembers for it are dropped.
    """
    hidden: list[Any] = [quote(argument) for argument in (run, *arguments)]
    outcome: Any = await task(*hidden)
    if context := FlowRunContext.get():
        context.run_results.clear()
    return outcome.data.result if isinstance(outcome, State) else outcome


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
