"""Runs a flow from the terminal: `python -m flows pipeline domain=therapeutic-coaching conversations=20`."""

import asyncio
import importlib
import logging
import os
import sys
from typing import Any

from prefect import Flow
from prefect.exceptions import ParameterBindError, ParameterTypeError

from core.errors import SettingsError, UnderstudyError
from core.reports import summary_table
from tasks.reporting import ReportRef

FLOWS = ("pipeline", "generation", "assessment", "dataset", "training", "export", "evaluation")


def main(words: list[str]) -> int:
    """Run the flow that the first word names with the parameters that the others give; return the exit code."""
    try:
        flow, parameters = _parse(words)
        result = asyncio.run(flow(**parameters))
    except UnderstudyError as error:
        print(f"Error: {error}", file=sys.stderr)
        return error.exit_code
    except (KeyboardInterrupt, asyncio.CancelledError):
        print("\nStopped. What was made is kept; the same command goes on from there.", file=sys.stderr)
        return 130
    except OSError as error:
        print(f"Error: {error.strerror or error}: {error.filename or 'a file of the run'}. What was made is kept; the same command goes on.", file=sys.stderr)
        return 1
    if isinstance(result, ReportRef):
        print(f"\n{summary_table(result.summary)}")
    else:
        print(result)
    return 0


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
        flow.validate_parameters(parameters)
    except (ParameterTypeError, ParameterBindError) as error:
        raise SettingsError(f"Parameters of {name}:{' '.join(str(error).splitlines()[1:]) or str(error)}.") from error
    return flow, parameters


if __name__ == "__main__":
    code = main(sys.argv[1:])
    sys.stdout.flush()
    os._exit(code) if code == 130 else sys.exit(code)
