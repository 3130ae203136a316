"""Runs a flow for a command: with a temporary server if none is configured. If a receipt has the result, the flow is not run."""

import asyncio
import importlib
import os
import shlex
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.llm.models_asked import check_names
from core.machine.stopping import run_stoppable
from core.packs.pack import load_pack
from core.reports.receipts import read_receipt, receipt_name, write_receipt
from core.settings.pipeline import load_settings
from core.storage.batches import pages_of
from core.storage.store import open_store
from core.storage.traces import begin_trace, end_trace
from core.terminal import Answer, show
from flows.terminal.temporary_server import temporary_server

if TYPE_CHECKING:
    from prefect import Flow

MAX_POLLS = 30
"""Maximum number of requests, two a second, in which the temporary server is asked whether it has recorded the ends of all tasks."""
SETTINGS = "config/pipeline.yaml"
"""Settings file of a command that names none."""


def run_flow(flow: str, typed: dict[str, Any], asked: dict[str, Any], quiet: bool = False) -> Answer:
    """Run a flow and return its result.

    Args:
        flow: name of the flow.
        typed: parameters of the command line, in the flow's types.
        asked: the same, and the defaults of the other parameters.
        quiet: whether only warnings are shown while it runs.

    Raises:
        UnderstudyError: something that a person can act on.
    """
    receipt = _receipt(flow, typed, asked)
    if receipt and (answer := _from_receipt(receipt)):
        return answer
    check_names(load_settings(asked["settings"]), flow, asked)
    with temporary_server() as wait_for_server:
        try:
            return _run(flow, typed, asked, receipt, quiet, wait_for_server)
        finally:
            _flush_logs()


def _receipt(flow: str, typed: dict[str, Any], asked: dict[str, Any]) -> str | None:
    """Check settings and pack, and return the name of the command's receipt; None if a UI must show the run, or if its result depends on more than files."""
    settings = load_settings(asked["settings"])
    if flow != "design":  # its pack does not exist yet
        load_pack(asked["domain"])
    return None if os.environ.get("PREFECT_API_URL") else receipt_name(flow, typed, settings, open_store())


def _from_receipt(receipt: str) -> Answer | None:
    """Return the result of an earlier run of the same command, if every file that it made still exists; otherwise None."""
    stored = read_receipt(open_store(), receipt)
    if stored is None:
        return None
    for warning in stored.warnings:
        show(f"Warning: {warning}", error=True)
    text = f"All of this was made before ({stored.at}), and its inputs have not changed since.\n\n{stored.table}"
    return Answer(text, stored.summary)


def _run(name: str, typed: dict[str, Any], asked: dict[str, Any], receipt: str | None, quiet: bool, wait_for_server: Callable[[], None] | None) -> Answer:
    # imported here, because Prefect reads the server's address when it is imported
    from core.authoring.design import EXAMPLE
    from core.reports.render import summary_table
    from flows.terminal.logs import command_log
    from flows.terminal.preflight import check_before_start
    from tasks.approval import note_temporary_server

    flow: Flow[..., Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    # the domain of a design does not exist yet
    check_before_start(name, EXAMPLE if name == "design" else asked["domain"], asked["settings"], asked)
    if wait_for_server:  # the server ends with this command
        note_temporary_server()
        wait_for_server()
    store = open_store()
    trace = begin_trace(store.local(receipt).parents[1]) if receipt else None
    with command_log(name, quiet) as log:
        result = run_stoppable(_run_and_settle(flow, typed) if wait_for_server else flow(**typed))
    end_trace()
    summary = _made(result, asked)
    table = summary_table(summary)
    # a receipt is named by its inputs; if they changed during the run, the name differs and nothing is written
    if receipt and trace and trace.finished and receipt == receipt_name(name, typed, load_settings(asked["settings"]), store):
        write_receipt(
            store, receipt, trace, {"at": f"{datetime.now().astimezone():%Y-%m-%d %H:%M}", "warnings": log.warnings, "table": table, "summary": summary}
        )
    return Answer(f"\n{table}", summary)


def _made(result: Any, asked: dict[str, Any]) -> dict[str, Any]:
    """Return the result of a flow as figures and paths by name.

    Args:
        result: what the flow returned: a batch's path, models, or a record with or without a summary.
        asked: the flow's parameters.
    """
    if isinstance(result, tuple):
        return {item.name: f"{open_store().root}/{item.path}{f', published: {item.url}' if item.url else ''}" for item in result}
    if isinstance(result, str):
        return _batch(result, asked)
    return getattr(result, "summary", None) or result.model_dump()


def _batch(name: str, asked: dict[str, Any]) -> dict[str, str]:
    """Return how many items a batch holds, where it can be read, and which command follows."""
    store = open_store()
    batch, more = store.load_json(name), f" --domain {asked['domain']}"
    if asked["settings"] != SETTINGS:
        more += f" --settings {shlex.quote(asked['settings'])}"
    left_out = f", {len(batch['left_out'])} left out" if batch["left_out"] else ""
    if "transcripts" in batch:
        counts, after, why = {"conversations": f"{len(batch['transcripts'])}{left_out}"}, "assess", ""
    else:
        outcomes = Counter(item["outcome"] for item in batch["assessments"])
        by_outcome = ", ".join(f"{outcomes[outcome]} {word}" for outcome, word in (("pass", "passed"), ("fail", "failed"), ("incomplete", "incomplete")))
        counts = {"assessed": f"{len(batch['assessments'])}{left_out}: {by_outcome}"}
        after, why = ("dataset", "") if outcomes["pass"] else ("pilot", ", because none passed")
    page = next((f"{store.root}/{page}" for page in pages_of(name) if store.exists(page)), None)
    return {**counts, "made": f"{store.root}/{name}", **({"report": page} if page else {}), "next": f"Next{why}: understudy {after}{more}"}


def _flush_logs() -> None:
    """Send Prefect's pending logs while the server still runs."""
    if "prefect" in sys.modules:
        from prefect.logging.handlers import APILogHandler

        APILogHandler().flush()


async def _run_and_settle(flow: "Flow[..., Any]", parameters: dict[str, Any]) -> Any:
    """Run a flow and wait until the temporary server has recorded the ends of its tasks, which takes it some seconds.

    A server that is stopped earlier would show the tasks as running forever.
    """
    from prefect import get_client
    from prefect.client.schemas.filters import TaskRunFilter

    started = datetime.now(UTC)
    result = await flow(**parameters)
    ours = TaskRunFilter.model_validate({"start_time": {"after_": started}})
    async with get_client() as client:
        earlier_count = -1
        for _ in range(MAX_POLLS):
            runs = await client.read_task_runs(task_run_filter=ours, limit=200)
            if len(runs) == earlier_count and all(run.state and run.state.is_final() for run in runs):
                break
            earlier_count = len(runs)
            await asyncio.sleep(0.5)
    return result
