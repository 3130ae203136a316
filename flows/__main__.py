"""Runs a flow from the terminal: `python -m flows pipeline domain=therapeutic-coaching conversations=20`."""

import asyncio
import importlib
import logging
import os
import sys
from datetime import UTC, datetime
from typing import Any

# Prefect reads these when it is imported. Its temporary server would fill the terminal with what it thinks of being stopped.
os.environ.setdefault("DO_NOT_TRACK", "1")
if "PREFECT_API_URL" not in os.environ:
    os.environ.setdefault("PREFECT_SERVER_LOGGING_LEVEL", "CRITICAL")

from prefect import Flow, get_client
from prefect.client.schemas.filters import TaskRunFilter
from prefect.exceptions import ParameterBindError, ParameterTypeError

from core.errors import SettingsError, UnderstudyError
from core.reports import summary_table
from tasks.preflight import check_before_start
from tasks.reporting import ReportRef

FLOWS = ("pipeline", "generation", "assessment", "dataset", "training", "export", "evaluation")
CATCH_UP_SECONDS = 30


def main(words: list[str]) -> int:
    """Run the flow that the first word names with the parameters that the others give; return the exit code."""
    try:
        flow, parameters = _parse(words)
        defaults = flow.parameters.properties
        check_before_start(**{name: parameters.get(name, defaults[name]["default"]) for name in ("domain", "settings")})
        result = asyncio.run(_run(flow, parameters))
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nStopped. What was made is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"Error: {error.strerror or error}: {error.filename or 'a file of the run'}. What was made is kept; the same command goes on.", file=sys.stderr)
        return 1
    print(f"\n{summary_table(result.summary)}" if isinstance(result, ReportRef) else result)
    return 0


async def _run(flow: Flow[..., Any], parameters: dict[str, Any]) -> Any:
    started = datetime.now(UTC)
    result = await flow(**parameters)
    if "PREFECT_API_URL" not in os.environ:
        await _let_server_catch_up(started)
    return result


async def _let_server_catch_up(started: datetime) -> None:
    """Wait until the temporary server has recorded the tasks' ends, which it does seconds after they happened; else they would show as running for ever."""
    ours = TaskRunFilter.model_validate({"start_time": {"after_": started}})
    async with get_client() as client:
        before = -1
        for _ in range(CATCH_UP_SECONDS):
            runs = await client.read_task_runs(task_run_filter=ours, limit=200)
            unfinished = [run for run in runs if run.state is None or not run.state.is_final()]
            if not unfinished and len(runs) == before:
                return
            before = len(runs)
            await asyncio.sleep(1)


def _parse(words: list[str]) -> tuple[Flow[..., Any], dict[str, Any]]:
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
        parameters[key] = value
    logging.getLogger("prefect.flows").disabled = True  # it would tell the same mistake a second time
    try:
        return flow, flow.validate_parameters(parameters)
    except (ParameterTypeError, ParameterBindError) as error:
        raise SettingsError(f"Parameters of {name}:{' '.join(str(error).splitlines()[1:]) or str(error)}.") from error


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
