"""The one Prefect server of the test session, and a pipeline small enough to be run for real."""

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from unittest.mock import patch

import prefect.context
import pytest
from prefect import get_client
from prefect.events.worker import EventsWorker
from prefect.logging.handlers import APILogWorker
from prefect.settings import PREFECT_API_URL, temporary_settings

from blocks.local_job import ENVIRONMENT, THREADS
from core.settings.pipeline import load_settings
from tests.conftest import CHECKOUT, RUN, SHARED
from tests.flows.secured import answers, new_home, until
from tests.jobs.conftest import nursery_for
from tests.nursery import REAL_PYTHON, Forked, Nursery, forked_python
from tests.stub.client import Stub, start_stub
from tests.tiny import tiny_settings

OUTSIDE = (
    *("anthropic", "openai", "google.genai", "matplotlib.pyplot", "scipy.stats", "datasketch", "datasets", "flows.terminal.running", "flows.terminal.logs"),
    *("prefect.cli", "prefect.cli.deploy", "prefect.cli.deployment", "prefect.cli.flow_run", "prefect.flow_engine", "prefect.task_engine"),
    *("prefect.utilities.visualization", "encodings.idna", "flows.terminal.importing"),
    *("prefect.workers.process", "prefect.runner._flow_run_executor", "prefect.runner._starter_engine", "prefect.server.api.server"),
)
SERVER = ("-m", "uvicorn", "--factory", "prefect.server.api.server:create_app", "--host", "127.0.0.1", "--log-level", "error", "--lifespan", "on")
LEAN = {
    "PREFECT_LOGGING_LEVEL": "INFO",
    "PREFECT__SERVER_EPHEMERAL": "1",
    "PREFECT__SERVER_FINAL": "1",
    "PREFECT_UI_ENABLED": "0",
    "PREFECT_SERVER_REGISTER_BLOCKS_ON_START": "false",
    "PREFECT_SERVER_SERVICES_EVENT_PERSISTER_ENABLED": "false",
}
"""A server without the services for schedules, pages and events, of which each is written down. Prefect's own harness for tests has such a one, too,
and imports the whole server a second time into the process of the tests."""
SMALL = {
    "roles": {"user_simulator": "scripted/user", "assistant": "scripted/0.9", "judges": ["scripted/judge"]},
    "generation": {"conversations": 10, "concurrency": 4},
    "dataset": {"recorded": False},
    "evaluation": {"personas": 3, "trials": 1, "exchanges": 3, "max_tokens": 60, "suite_items": 3, "resamples": 500, "arms": {}},
}


@pytest.fixture(scope="session", autouse=True)
def prefect_server(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A server with a database of its own; the flows of the tests and of the commands they start run against it."""
    with patch.object(sys, "executable", forked_python(tmp_path_factory.getbasetemp() / "python")):
        home = new_home(tmp_path_factory.mktemp("server"))
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words = [sys.executable, *SERVER, "--port", port]
        with (home / "server.log").open("wb") as log:
            server = subprocess.Popen(words, env={**os.environ, **LEAN, "PREFECT_HOME": str(home)}, stdout=log, stderr=subprocess.STDOUT)
    url = f"http://127.0.0.1:{port}/api"
    until(lambda: answers(url))
    with ExitStack() as known:
        known.enter_context(temporary_settings({PREFECT_API_URL: url}))
        # for threads that were begun earlier
        known.enter_context(patch.object(prefect.context, "GLOBAL_SETTINGS_CONTEXT", prefect.context.get_settings_context()))
        yield url
        APILogWorker.instance().drain()
        EventsWorker.drain_all()
    server.terminate()
    server.wait(timeout=30)


@pytest.fixture(scope="module", autouse=True)
def limits_end_with_their_file(prefect_server: str) -> Iterator[None]:
    """Remove the models' limits that a deployment left on the server, at which two runs of another file would wait for each other."""
    yield
    with get_client(sync_client=True) as client:
        for limit in client.read_global_concurrency_limits(limit=200, offset=0):
            if limit.name.startswith("understudy-"):
                client.delete_global_concurrency_limit_by_name(limit.name)


def write_settings(folder: Path, **changes: dict[str, Any]) -> str:
    """Write the shipped settings with changes, and training settings of a few seconds; return the file's path."""
    training = folder / "tiny.yaml"
    training.write_text(json.dumps(tiny_settings()), encoding="utf-8")
    settings = load_settings("config/demo.yaml").model_dump(mode="json")
    for part in (SMALL, changes):
        for name, values in part.items():
            settings[name] = {**settings[name], **values}
    settings["training"] = str(training)
    path = folder / "settings.yaml"
    path.write_text(json.dumps(settings, ensure_ascii=False, indent=1), encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def provider() -> Iterator[Stub]:
    """A loopback server that plays the providers of models."""
    with start_stub() as stub:
        yield stub


@pytest.fixture
def settings(tmp_path: Path) -> str:
    """Path of small settings."""
    return write_settings(tmp_path)


def command_nursery(folder: Path, environment: Mapping[str, str], shared_by: int | None = None) -> Nursery:
    """Start what commands, workers and servers are forked from.

    Args:
        folder: for its socket.
        environment: in which it imports.
        shared_by: whose children have one together (`Nursery`).
    """
    # what a command needs sooner or later, without what comes with an extra
    own = [f"{path.parent.name}.{path.stem}" for room in ("flows", "blocks") for path in sorted((CHECKOUT / room).glob("*.py"))]
    modules = [
        *OUTSIDE,
        *(name for name in own if name.split(".")[1] not in ("__init__", "personal_data", "llama_cpp", "prebuilt_server")),
        "tests.flows.warmed",
    ]
    scripts = [f"{place}deployments/{name}.py" for name in ("server", "setup", "worker") for place in ("", f"{CHECKOUT}/")]
    return Nursery(folder, modules, environment, ("-m flows.terminal", "-m prefect", "-m uvicorn", *scripts), shared_by)


@pytest.fixture(scope="session")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    """What commands are forked from; one for all workers of a test run, since it imports for twelve seconds."""
    environment = {**os.environ, "PREFECT_LOGGING_LEVEL": "INFO"}
    found = command_nursery(SHARED / "nursery", environment, RUN)
    python = tmp_path_factory.getbasetemp() / "python"
    python.mkdir()
    (python / "commands.socket").symlink_to(found.address)
    yield found
    found.close()


@pytest.fixture(scope="session")
def trainers(tmp_path_factory: pytest.TempPathFactory) -> Nursery:
    """What trainings and conversions are forked from."""
    own = {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
    found = nursery_for({**THREADS, **own, **ENVIRONMENT})
    assert found
    (tmp_path_factory.getbasetemp() / "python" / "trainers.socket").symlink_to(found.address)
    return found


@pytest.fixture(scope="module")
def forked(nursery: Nursery, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Have the processes that flows, commands and workers start forked from those that have the libraries; the jobs too, where `trainers` is asked for."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "executable", forked_python(tmp_path_factory.getbasetemp() / "python"))
        yield


@pytest.fixture
def command(nursery: Nursery, prefect_server: str, data_root: Path) -> Iterator[Callable[..., Forked | subprocess.Popen[str]]]:
    """Start `understudy …` as a user would, against the session's server; what a failed test leaves running ends with it.

    With `forks=False` it is started by itself, for tests of what comes of processes.
    """
    started: list[Forked | subprocess.Popen[str]] = []

    def start(*words: str, forks: bool = True, **environment: str) -> Forked | subprocess.Popen[str]:
        if (home := environment.get("PREFECT_HOME")) and not Path(home).exists():
            new_home(Path(home))
        env = {**os.environ, "PREFECT_API_URL": prefect_server, "UNDERSTUDY_DATA": str(data_root), "PREFECT_LOGGING_LEVEL": "INFO", **environment}
        process = nursery.start(["-m", "flows.terminal", *words], env) if forks and nursery.fits(env) else start_program(words, env)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def start_program(words: Sequence[str], environment: Mapping[str, str]) -> subprocess.Popen[str]:
    """Start `understudy …` by itself."""
    return subprocess.Popen(
        [REAL_PYTHON, "-m", "flows.terminal", *words],
        cwd=CHECKOUT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
        # as in a terminal: a suite that runs in the background may have been set to ignore Ctrl-C, and children inherit that
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509
    )
