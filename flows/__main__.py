"""Runs a flow from the terminal: `python -m flows pipeline domain=therapeutic-coaching conversations=20`."""

import ast
import asyncio
import importlib
import json
import logging
import os
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from core.errors import SettingsError, UnderstudyError, nearest
from core.machine.stopping import leave, run_stoppable, say, stop_on_signals, stopped
from core.packs.pack import load_pack
from core.reports.receipts import read_receipt, receipt_name, write_receipt
from core.settings.keys import refuse_keys
from core.settings.pipeline import load_settings
from core.settings.trust import find_settings
from core.storage.store import open_store
from core.storage.traces import begin_trace, end_trace
from core.terminal import show, show_error, show_text
from flows import STOPPED
from tasks.command_words import NUMBER, ask_to_trust
from tasks.temporary_server import temporary_server

if TYPE_CHECKING:
    from prefect import Flow

FLOWS = ("pipeline", "generation", "assessment", "dataset", "training", "export", "evaluation", "nightly", "release", "repair", "design", "critique", "pilot")
CATCH_UP_SECONDS = 30


def main(words: list[str]) -> int:
    """Run the flow that the first word names with the parameters that the others give; return the exit code."""
    stop_on_signals(STOPPED)
    try:
        flow, given = _asked(words)
        receipt = _receipt(flow, given)
        if receipt and _said_again(receipt):
            return 0
        with temporary_server() as wait_for_server:
            try:
                return _run(flow, given, receipt, wait_for_server)
            finally:
                _flush_logs()
    except (Exception, asyncio.CancelledError) as error:
        if code := stopped():  # whatever a run says that is stopped
            say(STOPPED)
            return code
        if isinstance(error, UnderstudyError):
            show_error(error)
            return error.exit_code
        if isinstance(error, OSError):
            show_error(f"{error.strerror or error}: {error.filename or 'a file of the run'}. What was made is kept; the same command goes on.")
            return 1
        raise


def _asked(words: list[str]) -> tuple[str, dict[str, str]]:
    """Return the flow's name and the parameters that are given, and see that there are such; Prefect, which takes seconds to load, is not asked."""
    refuse_keys({f"parameter {number}": word for number, word in enumerate(words)})
    name, *pairs = words or [""]
    if name not in FLOWS:
        raise SettingsError(f"Unknown flow {name!r:.80}.{nearest(name, FLOWS)} Allowed: {', '.join(FLOWS)}.")
    known, given = _defaults(name), {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if key not in known or not separator:
            raise SettingsError(
                f"Unknown parameter {pair!r:.80} of {name}.{nearest(key, known)} Allowed: {', '.join(f'{known_key}=…' for known_key in known)}."
            )
        if key in given:
            raise SettingsError(f"The parameter {key} is there twice. Say it once.")
        given[key] = value
    ask_to_trust(find_settings((known | given)["settings"]))
    return name, given


def _defaults(flow: str) -> dict[str, Any]:
    """Return a flow's parameters with their defaults, read from its file."""
    tree = ast.parse(Path(__file__).with_name(f"{flow}.py").read_text(encoding="utf-8"))
    written = next(item.args for item in tree.body if isinstance(item, ast.AsyncFunctionDef) and item.name == flow)
    names = [argument.arg for argument in written.args]
    values = [ast.literal_eval(value) for value in written.defaults]
    return dict.fromkeys(names) | dict(zip(names[len(names) - len(values) :], values, strict=True))


def _receipt(flow: str, given: dict[str, str]) -> str | None:
    """Check settings and pack, and return the name of the command's receipt; none where the run is to be seen in a UI, or rests on more than files."""
    asked = _defaults(flow) | given
    settings = load_settings(asked["settings"])
    if flow != "design":  # its pack is not there yet
        load_pack(asked["domain"])
    return None if os.environ.get("PREFECT_API_URL") else receipt_name(flow, given, settings, open_store())


def _said_again(receipt: str) -> bool:
    """Say what the same command said when it made what is still there; return whether there was such a one."""
    told = read_receipt(open_store(), receipt)
    if told is None:
        return False
    for warning in told["warnings"]:
        show(f"Warning: {warning}", error=True)
    show_text(f"All of this was there already ({told['at']}), and nothing that it rests on has changed.\n\n{told['table']}")
    return True


def _run(name: str, given: dict[str, str], receipt: str | None, wait_for_server: Callable[[], None]) -> int:
    # imported here, because Prefect must find the server's address when it is imported
    from core.authoring.design import EXAMPLE
    from core.reports.render import summary_table
    from tasks.preflight import check_before_start

    flow, parameters = _loaded(name, given)
    asked = _defaults(name) | parameters
    # the domain of a design is not there yet
    check_before_start(name, EXAMPLE if name == "design" else asked["domain"], asked["settings"], asked)
    wait_for_server()
    store = open_store()
    trace = begin_trace(store.local(receipt).parents[1]) if receipt else None
    warnings = _Warnings()
    logging.getLogger("prefect").addHandler(warnings)
    result = run_stoppable(_run_and_settle(flow, parameters))
    table = summary_table(_told(result))
    show_text(f"\n{table}")
    end_trace()
    # what it rests on may have been changed while it ran: then its name is another one
    if receipt and trace and trace.finished and receipt == _receipt_now(name, given):
        write_receipt(store, receipt, trace, {"at": f"{datetime.now().astimezone():%Y-%m-%d %H:%M}", "warnings": warnings.texts, "table": table})
    return 0


def _receipt_now(flow: str, given: dict[str, str]) -> str | None:
    return receipt_name(flow, given, load_settings((_defaults(flow) | given)["settings"]), open_store())


class _Warnings(logging.Handler):
    """Keeps what a run warned of."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.texts: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.texts.append(record.getMessage())


def _told(result: Any) -> dict[str, Any]:
    """Return what a flow made, by name."""
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


def _loaded(name: str, given: dict[str, str]) -> tuple["Flow[..., Any]", dict[str, Any]]:
    """Return a flow, and its parameters in their types."""
    from prefect.exceptions import ParameterBindError, ParameterTypeError

    flow: Flow[..., Any] = getattr(importlib.import_module(f"flows.{name}"), name)
    known = flow.parameters.properties
    logging.getLogger("prefect.flows").disabled = True  # it would tell the same mistake a second time
    try:
        return flow, flow.validate_parameters({key: _value(known[key], value) for key, value in given.items()})
    except (ParameterTypeError, ParameterBindError) as error:
        raise SettingsError(f"Parameters of {name}:{' '.join(str(error).splitlines()[1:]) or str(error)}.") from error


def _value(schema: dict[str, Any], text: str) -> Any:
    """Return a parameter that has parts, given as JSON or as `name=value,name=value`; any other is left as it is."""
    if text.startswith("{"):
        try:
            return json.loads(text)
        except json.JSONDecodeError:
            return text
    kinds = {kind.get("type") for kind in [schema, *schema.get("anyOf", [])]}
    if "integer" in kinds and NUMBER.fullmatch(text):
        return int(text)
    if "boolean" in kinds:
        return {"true": True, "false": False}.get(text, text)
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
