"""Runs a flow from the terminal: `python -m flows pipeline domain=therapeutic-coaching conversations=20`."""

import asyncio
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError, UnderstudyError
from core.references import refuse_keys
from core.stopping import leave, run_stoppable, say, stop_on_signals, stopped
from flows import STOPPED
from tasks.temporary_server import temporary_server

if TYPE_CHECKING:
    from prefect import Flow

FLOWS = ("pipeline", "generation", "assessment", "dataset", "training", "export", "evaluation", "nightly", "release", "repair", "design", "critique", "pilot")
CATCH_UP_SECONDS = 30


def main(words: list[str]) -> int:
    """Run the flow that the first word names with the parameters that the others give; return the exit code."""
    stop_on_signals(STOPPED)
    os.environ.setdefault("DO_NOT_TRACK", "1")
    try:
        with temporary_server() as wait_for_server:
            try:
                return _run(words, wait_for_server)
            finally:
                _flush_logs()
    except (Exception, asyncio.CancelledError) as error:
        if code := stopped():  # whatever a run says that is stopped
            say(STOPPED)
            return code
        if isinstance(error, UnderstudyError):
            print(f"Error: {error}", file=sys.stderr)
            return error.exit_code
        if isinstance(error, OSError):
            print(
                f"Error: {error.strerror or error}: {error.filename or 'a file of the run'}. What was made is kept; the same command goes on.", file=sys.stderr
            )
            return 1
        raise


def _run(words: list[str], wait_for_server: Callable[[], None]) -> int:
    # imported here, because Prefect must find the server's address when it is imported
    from core.design import EXAMPLE
    from core.reports import summary_table
    from tasks.preflight import check_before_start

    flow, parameters = _parse(words)
    defaults = flow.parameters.properties
    given = {name: parameters.get(name, defaults[name].get("default")) for name in ("domain", "settings")}
    # the domain of a design is not there yet
    check_before_start(words[0], **(given | {"domain": EXAMPLE} if words[0] == "design" else given))
    wait_for_server()
    result = run_stoppable(_run_and_settle(flow, parameters))
    print(f"\n{summary_table(_told(result))}")
    return 0


def _told(result: Any) -> dict[str, Any]:
    """Return what a flow made, by name."""
    from core.store import open_store

    if isinstance(result, tuple):
        return {item.name: f"{open_store().root}/{item.path}{f', published: {item.url}' if item.url else ''}" for item in result}
    if isinstance(result, str):
        return {"made": f"{open_store().root}/{result}"}
    return getattr(result, "summary", None) or result.model_dump()


def _flush_logs() -> None:
    """Let Prefect send what it still holds, while the server is there."""
    if "prefect" in sys.modules:
        from prefect.logging.handlers import APILogHandler

        APILogHandler().flush()


def _parse(words: list[str]) -> tuple["Flow[..., Any]", dict[str, Any]]:
    from prefect.exceptions import ParameterBindError, ParameterTypeError

    refuse_keys({f"parameter {number}": word for number, word in enumerate(words)})
    name, *pairs = words or [""]
    if name not in FLOWS:
        raise SettingsError(f"Unknown flow {name!r}. Allowed: {', '.join(FLOWS)}.")
    flow: Flow[..., Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    known = flow.parameters.properties
    parameters: dict[str, Any] = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if key not in known or not separator:
            raise SettingsError(f"Unknown parameter {pair!r} of {name}. Allowed: {', '.join(f'{known_key}=…' for known_key in known)}.")
        parameters[key] = _value(known[key], value)
    logging.getLogger("prefect.flows").disabled = True  # it would tell the same mistake a second time
    try:
        return flow, flow.validate_parameters(parameters)
    except (ParameterTypeError, ParameterBindError) as error:
        raise SettingsError(f"Parameters of {name}:{' '.join(str(error).splitlines()[1:]) or str(error)}.") from error


def _value(schema: dict[str, Any], text: str) -> Any:
    """Return a parameter that has parts, given as JSON or as `name=value,name=value`; any other is left as it is."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    if any("additionalProperties" in kind and "properties" not in kind for kind in schema.get("anyOf", [])):
        return dict(part.strip().partition("=")[::2] for part in text.split(","))
    return text


async def _run_and_settle(flow: "Flow[..., Any]", parameters: dict[str, Any]) -> Any:
    """Run a flow and wait until the server has recorded its tasks' ends, which it does seconds after they happened.

    A temporary server that is stopped before would leave them running for ever in the UI.
    """
    from prefect import get_client
    from prefect.client.schemas.filters import TaskRunFilter

    started = datetime.now(UTC)
    result = await flow(**parameters)
    ours = TaskRunFilter.model_validate({"start_time": {"after_": started}})
    async with get_client() as client:
        before = -1
        for _ in range(CATCH_UP_SECONDS):
            runs = await client.read_task_runs(task_run_filter=ours, limit=200)
            if len(runs) == before and all(run.state and run.state.is_final() for run in runs):
                break
            before = len(runs)
            await asyncio.sleep(0.5)
    return result


if __name__ == "__main__":
    leave(main(sys.argv[1:]))
