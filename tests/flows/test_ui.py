"""`make ui` as a person uses it: started, a run in it, stopped in any way, started again."""

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
from tests.flows.secured import SOON, new_home
from tests.flows.test_stopping import nothing_left, wait_for
from tests.nursery import forked_python

FORKED = (f"{CHECKOUT}/deployments/server.py", f"{CHECKOUT}/deployments/setup.py", "-m prefect --no-prompt deploy", "-m flows.terminal studio")
"""What `make ui` starts beside the worker and its runs, which are processes of their own here."""


@pytest.fixture
def ui(tmp_path, tmp_path_factory, nursery, monkeypatch):
    """Starts server and worker with a database of their own; what is left of them is killed."""
    python = forked_python(tmp_path_factory.getbasetemp() / "python", FORKED)
    program = f"import runpy, sys; sys.executable = {python!r}; runpy.run_path('deployments/ui.py', run_name='__main__')"
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    env = {
        **os.environ,
        "PORT": port,
        "PREFECT_HOME": str(new_home(tmp_path / "prefect")),
        "UNDERSTUDY_DATA": str(tmp_path / "data"),
        "PREFECT_LOGGING_LEVEL": "INFO",
        **SOON,
    }
    monkeypatch.setenv("PREFECT_HOME", env["PREFECT_HOME"])
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    monkeypatch.setenv("PREFECT_API_AUTH_STRING", "")
    started = []

    def start():
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
        started.append(process)
        wait_for(process, "Ctrl-C stops the server and the worker")
        server_access.use_kept_password()
        return process

    yield start
    for process in started:
        kill_all(process)


def assert_stopped(process, code, folder):
    output, _ = process.communicate(timeout=240)
    assert process.returncode == code, output
    assert "Traceback" not in output, output
    assert output.rstrip().endswith("Stopping the worker, its runs, the server and the studio. Everything made so far is kept."), output
    nothing_left(folder)


def kill_all(process):
    """Kill -9 a process and all that it started."""
    try:
        found = [process, *psutil.Process(process.pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for one in found:
        one.kill()
    process.wait()


def begin_a_run(process, settings):
    """Start a deployment's run, and wait until it is in the middle of its conversations; return its id."""
    deployment = server_access.ask("deployments/name/nightly/nightly", seconds=60)
    run = server_access.ask(f"deployments/{deployment['id']}/create_flow_run", {"parameters": {"settings": settings, "conversations": 500}}, seconds=60)
    wait_for(process, r"So far: [1-9]")
    return run["id"]


def test_whether_it_is_killed_or_stopped_nothing_is_left_and_no_run_says_for_ever_that_it_runs(ui, tmp_path):
    settings = write_settings(tmp_path, generation={"conversations": 500, "concurrency": 2, "exchanges": [6, 6], "progress_seconds": 0.5})
    process = ui()
    killed = begin_a_run(process, settings)
    kill_all(process)  # with the server and the run, so that nobody records what became of it
    made = list((tmp_path / "data").rglob("transcripts/**/*.json"))
    assert made

    process = ui()
    assert server_access.ask(f"flow_runs/{killed}", seconds=60)["state_type"] == "CRASHED"
    begin_a_run(process, settings)
    process.send_signal(signal.SIGINT)
    assert_stopped(process, 130, tmp_path)
    assert all(path.exists() for path in made)
    with contextlib.closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:  # what the next start finds
        assert database.execute("SELECT state_type, COUNT(*) FROM flow_run GROUP BY state_type").fetchall() == [("CRASHED", 2)]


def test_stopped_while_it_starts_nothing_is_left(tmp_path):
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
    nothing_left(tmp_path)


def test_a_port_that_is_taken_is_reported(tmp_path, prefect_server):
    port = re.search(r":(\d+)/", prefect_server)
    assert port
    env = {**os.environ, "PORT": port.group(1), "PREFECT_HOME": str(tmp_path / "prefect")}
    done = subprocess.run([sys.executable, "deployments/ui.py"], cwd=CHECKOUT, env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.startswith(f"Error: Something answers on port {port.group(1)} already.")
