"""How Prefect runs flows and tasks: with small results named by content, errors without secrets, and a readable log."""

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
    """Remove secrets from the errors of a flow or task, because Prefect stores errors; log the page to open at the end of a flow."""
    function = run.fn

    @wraps(function)
    async def clean(*arguments: Any, **named: Any) -> Any:
        try:
            result = await function(*arguments, **named)
            if isinstance(run, Flow) and (page := page_of(result)):
                get_run_logger().info("Open %s", page)
            return result
        except Exception as error:
            if (safe := without_secrets(error)) is error:
                raise
            raise safe.with_traceback(error.__traceback__) from error.__cause__

    run.fn = clean
    return run


def page_of(result: Any) -> str | None:
    """Return the path of the page about a flow's result, or the address at which the result is published; None if there is neither."""
    last = result[-1] if isinstance(result, tuple) else result
    summary, store = getattr(last, "summary", None) or {}, open_store()
    if page := summary.get("report") or summary.get("page"):
        return page
    if isinstance(last, str):
        return next((f"{store.root}/{page}" for page in pages_of(last) if store.exists(page)), None)
    url, card = getattr(last, "url", None), f"{getattr(last, 'path', '')}/README.md"
    return url or (f"{store.root}/{card}" if store.exists(card) else None)


def cached_task(name: str, run_name: str) -> Callable[[Callable[P, Coroutine[Any, Any, Ref]]], Task[P, Coroutine[Any, Any, Ref]]]:
    """Return a decorator that turns a function into a task. The function looks for an existing result first, and returns it with `existing`.

    Only files and hubs decide whether a result exists. Prefect stores each returned reference, under a name made of the task and its parameters, but never
    reads it: with `refresh_cache`, every task runs and looks for itself.

    Args:
        name: name of the task, whose first parameter is the run.
        run_name: name of its runs, with names of parameters in braces.
    """

    def decorate(function: Callable[P, Coroutine[Any, Any, Ref]]) -> Task[P, Coroutine[Any, Any, Ref]]:
        named = CacheKeyFnPolicy(cache_key_fn=_result_name)
        stored: dict[str, Any] = {"persist_result": True, "result_serializer": "json", "cache_result_in_memory": False}
        return guarded(Task(function, name=name, task_run_name=run_name, cache_policy=named, refresh_cache=True, **stored))

    return decorate


def existing(reference: Ref) -> Any:
    """Return the state with which a task returns a result that existed already; the Prefect UI then shows the run as Cached."""
    return Completed(name="Cached", message="Its result exists already.", data=reference)


async def run_cached(task: Task[..., Coroutine[Any, Any, Ref]], run: Run, *arguments: Any) -> Ref:
    """Await a `cached_task`; return the reference to its result.

    Prefect searches the parameters of a task for results of other tasks, and remembers results for that search. Both cost time and memory in a large batch,
    so parameters are quoted and the remembered results dropped.
    """
    hidden: list[Any] = [quote(argument) for argument in (run, *arguments)]
    outcome: Any = await task(*hidden)
    if context := FlowRunContext.get():
        context.run_results.clear()
    return outcome.data.result if isinstance(outcome, State) else outcome


class ReadableLog(logging.Filter):
    """Keeps a run's log readable: an error that a person can act on is logged once and without a traceback; the end of a completed task is not logged."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite a record that Prefect logs at the end of a run; return False to drop it."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, UnderstudyError):
            logged, error.logged = error.logged, True
            record.msg, record.args, record.exc_info, record.exc_text = str(error), (), None, None
            return not logged
        if record.msg.startswith("View at "):
            return False  # the address of a temporary server, or of the UI in which the reader sees this log
        if "Execution was cancelled by the runtime environment" in record.msg:
            return record.name == "prefect.flow_runs" and record.msg.startswith("Crash detected")  # after Ctrl-C: one line for each flow, none for each task
        if record.msg.startswith("Finished in state Failed("):
            record.msg = "Failed."  # the reason is in the line before and in the state
            return record.name == "prefect.flow_runs"
        return not (record.name == "prefect.task_runs" and record.msg.startswith("Finished in state"))


for _name in ("prefect.flow_runs", "prefect.task_runs", "prefect.engine"):
    logging.getLogger(_name).addFilter(ReadableLog())
