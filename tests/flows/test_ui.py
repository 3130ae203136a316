"""`make ui` as a person uses it: start it, run a deployment, stop or kill it, start it again."""

import contextlib
import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import time

import psutil
import pytest

from flows.terminal import server_access
from tests.conftest import CHECKOUT
from tests.flows.conftest import write_settings
from tests.flows.secured import QUICK, new_home
from tests.flows.test_stopping import assert_nothing_runs, processes_of, wait_for
from tests.nursery import forked_python

FORKED = (f"{CHECKOUT}/deployments/server.py", f"{CHECKOUT}/deployments/setup.py", "-m prefect --no-prompt deploy", "-m flows.terminal studio")
"""What `make ui` starts beside the worker and its runs. These two must be its real descendants where it is to stop them."""


@pytest.fixture
def ui(tmp_path, tmp_path_factory, nursery, monkeypatch):
    """Starts `make ui` with a database of its own; whatever still runs at the end is killed."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {
        **os.environ,
        "PORT": port,
        "PREFECT_HOME": str(new_home(tmp_path / "prefect")),
        "UNDERSTUDY_DATA": str(tmp_path / "data"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        **QUICK,
    }
    monkeypatch.setenv("PREFECT_HOME", env["PREFECT_HOME"])
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")

    def start(*forked):
        python = forked_python(tmp_path_factory.getbasetemp() / "python", forked)
        program = f"import runpy, sys; sys.executable = {python!r}; runpy.run_path('deployments/ui.py', run_name='__main__')"
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            cwd=CHECKOUT,
            env=env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  as in a terminal
        )
        wait_for(process, "Ctrl-C stops the server and the worker")
        server_access.use_kept_password()
        return process

    yield start
    kill_all(tmp_path)


def assert_stopped(process, code, folder):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    assert "Traceback" not in output, output
    assert output.rstrip().endswith("Stopping the worker, its runs, the server and the studio. Everything made so far is kept."), output
    assert_nothing_runs(folder)


def kill_all(folder):
    """Kill -9 every process whose data root or Prefect home is below a folder."""
    while found := processes_of(folder):
        for process in found:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()


def begin_a_run(process, settings):
    """Start a run of a deployment, wait for its first conversations, and return its id."""
    deployment = server_access.ask("deployments/name/nightly/nightly", seconds=60)
    run = server_access.ask(f"deployments/{deployment['id']}/create_flow_run", {"parameters": {"settings": settings, "conversations": 500}}, seconds=60)
    wait_for(process, r"So far: [1-9]")
    return run["id"]


def test_killed_or_stopped_it_leaves_no_process_and_no_run_that_counts_as_running(ui, tmp_path):
    settings = write_settings(tmp_path, generation={"conversations": 500, "concurrency": 2, "exchanges": [6, 6], "progress_seconds": 0.5})
    process = ui("")
    killed = begin_a_run(process, settings)
    kill_all(tmp_path)  # the server and the run too, so that nothing records how the run ended
    process.wait()
    transcripts = list((tmp_path / "data").rglob("transcripts/**/*.json"))
    assert transcripts

    process = ui(*FORKED)
    assert server_access.ask(f"flow_runs/{killed}", seconds=60)["state_type"] == "CRASHED"
    begin_a_run(process, settings)
    process.send_signal(signal.SIGINT)
    assert_stopped(process, 130, tmp_path)
    assert all(path.exists() for path in transcripts)
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:  # as the next start will find it
        assert database.execute("SELECT state_type, COUNT(*) FROM flow_run GROUP BY state_type").fetchall() == [("CRASHED", 2)]


def test_stopped_while_it_starts_it_leaves_no_process(tmp_path):
    env = {**os.environ, "PORT": "0", "PREFECT_HOME": str(tmp_path / "prefect")}
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        env["PORT"] = str(probe.getsockname()[1])
    process = subprocess.Popen(
        [sys.executable, "deployments/ui.py"], cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True
    )
    wait_for(process, "Starting the Prefect server")
    time.sleep(1)
    process.terminate()
    output, _ = process.communicate(timeout=240)
    assert process.returncode == 143, output
    assert not re.search("Traceback|Error", output), output
    assert_nothing_runs(tmp_path)


def test_a_port_that_is_taken_is_reported(tmp_path, prefect_server):
    port = re.search(r":(\d+)/", prefect_server)
    assert port
    env = {**os.environ, "PORT": port.group(1), "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run([sys.executable, "deployments/ui.py"], cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Something answers on port {port.group(1)} already.")
