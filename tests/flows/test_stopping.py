"""A command that is stopped, at any moment and by any signal, leaves one sentence and an exit code, and no process and no traceback."""

import asyncio
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from flows.assessment import assessment
from flows.dataset import dataset
from flows.generation import generation
from tests.conftest import CHECKOUT, needs
from tests.flows.conftest import start_program, write_settings
from tests.flows.secured import until

STOPPED = "Stopped. Everything made so far is kept; the same command resumes from there."


def processes_of(folder):
    """Return the processes whose data root or Prefect home is below a folder; they inherit its path in their environment."""
    found = {}
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and str(folder) in "".join(process.environ().values()):
                found[process] = " ".join(process.cmdline())
        except psutil.Error:
            continue
    return found


def runs(program, folder):
    """Return whether a process below a folder runs a program."""
    return any(program in words for words in processes_of(folder).values())


def assert_nothing_runs(folder, seconds=6):
    end = time.monotonic() + seconds
    while (found := processes_of(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not found


@pytest.fixture
def alone(command, tmp_path):
    """Start a command with a temporary server of its own."""
    return lambda *words, **options: command(*words, PREFECT_API_URL="", PREFECT_HOME=str(tmp_path / "prefect"), **options)


def wait_for_handler(process):
    """Wait until the process has a handler for SIGTERM, which it installs before nearly everything else."""
    status = Path(f"/proc/{process.pid}/status")
    while status.exists():
        caught = re.search(r"SigCgt:\s*([0-9a-f]+)", status.read_text(encoding="utf-8"))
        if process.poll() is not None or (caught and int(caught.group(1), 16) >> (signal.SIGTERM - 1) & 1):
            return
        time.sleep(0.01)
    time.sleep(1)


def wait_for(process, pattern):
    for line in process.stdout:
        if re.search(pattern, line):
            return
    pytest.fail(f"{pattern} was never printed")


def assert_stopped(process, code, folder, sentence=STOPPED):
    output, _ = process.communicate(timeout=240)
    assert "Traceback" not in output, output
    assert output.count(sentence) == 1, output
    assert output.rstrip().endswith(sentence), output
    assert process.returncode == code, output
    assert_nothing_runs(folder)


@pytest.mark.parametrize(("seconds", "number", "code"), [(0.0, signal.SIGTERM, 143), (0.0, signal.SIGINT, 130), (1.5, signal.SIGTERM, 143)])
def test_a_command_can_be_stopped_while_it_imports(alone, tmp_path, seconds, number, code):
    process = alone("generate", "--settings=config/demo.yaml", "--count=3", forks=False)
    wait_for_handler(process)
    time.sleep(seconds)
    process.send_signal(number)
    assert_stopped(process, code, tmp_path)


def test_a_command_can_be_stopped_while_its_server_starts(alone, tmp_path, forked):
    process = alone("generate", "--settings=config/demo.yaml", "--count=3")
    until(lambda: runs("deployments/server.py", tmp_path))
    process.send_signal(signal.SIGINT)
    assert_stopped(process, 130, tmp_path)


def test_sigterm_to_make_ends_the_command_and_its_server_and_keeps_the_finished_conversations(tmp_path, data_root, forked):
    path = write_settings(tmp_path, generation={"conversations": 300, "concurrency": 2, "exchanges": [6, 6], "progress_seconds": 0.5})
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        f"SHELL := /bin/bash\ngenerate:\n\t@{sys.executable} -m flows.terminal generate $(if $(SETTINGS),--settings $(SETTINGS))\n", encoding="utf-8"
    )
    env = {**os.environ, "PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "prefect"), "UNDERSTUDY_DATA": str(data_root), "PREFECT_LOGGING_LEVEL": "INFO"}
    words = ["make", "-f", str(makefile), "generate", f"SETTINGS={path}"]
    process = subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    wait_for(process, r"So far: [1-9]\d* of 300")
    os.killpg(process.pid, signal.SIGTERM)  # to make and the command, as `timeout` does; make forwards it
    output, _ = process.communicate(timeout=240)
    assert "Traceback" not in output, output
    assert output.count(STOPPED) == 1, output
    assert process.returncode == -signal.SIGTERM
    assert list(data_root.rglob("transcripts/**/*.json"))
    assert_nothing_runs(tmp_path)


@pytest.fixture(scope="module")
def with_dataset(prefect_server, tmp_path_factory):
    """A data root with a dataset, and its settings."""
    needs("torch")
    folder = tmp_path_factory.mktemp("with-dataset")
    settings = write_settings(folder)

    async def make():
        await generation(settings=settings)
        await assessment(settings=settings)
        await dataset(settings=settings)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UNDERSTUDY_DATA", str(folder / "data"))
        asyncio.run(make())
    return folder / "data", settings


@pytest.fixture
def training(with_dataset, data_root, alone, forked):
    """A command whose training job runs."""
    root, settings = with_dataset
    shutil.copytree(root, data_root)
    process = alone("train", f"--settings={settings}")
    wait_for(process, "train_sft runs")
    return process


def has_no_adapter(data_root):
    return not [path for path in (data_root / "models/adapters").iterdir() if path.is_dir() and not path.name.startswith(".")]


def test_the_first_signal_stops_the_job_and_the_second_ends_the_command_and_its_server_at_once(training, tmp_path, data_root):
    process = training
    until(lambda: runs("train_sft", tmp_path))  # the job is reported just before it starts
    server = next(child for child in psutil.Process(process.pid).children() if any(word.endswith("deployments/server.py") for word in child.cmdline()))
    server.suspend()  # so that the command cannot finish stopping
    process.send_signal(signal.SIGTERM)
    until(lambda: not runs("train_sft", tmp_path))
    time.sleep(1.5)  # signals within a second count as one
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert_stopped(process, 143, tmp_path)
    assert has_no_adapter(data_root)


def test_ctrl_c_in_a_terminal_stops_job_and_server_and_leaves_no_adapter(training, tmp_path, data_root):
    time.sleep(1)
    assert len(psutil.Process(training.pid).children(recursive=True)) >= 2  # the job and the server
    os.killpg(training.pid, signal.SIGINT)  # to the whole group, as a terminal does
    assert_stopped(training, 130, tmp_path)
    assert has_no_adapter(data_root)


def test_a_command_can_be_stopped_while_it_waits_for_the_ends_of_tasks_to_be_recorded(alone, tmp_path, forked):
    process = alone("generate", "--settings=config/demo.yaml", "--count=3")
    wait_for(process, "The run so far")
    process.send_signal(signal.SIGTERM)
    assert_stopped(process, 143, tmp_path)


@pytest.mark.parametrize(
    ("words", "number", "code"),
    [(["costs"], signal.SIGTERM, 143), (["check-models"], signal.SIGINT, 130), (["personas", "--count=5"], signal.SIGTERM, 143)],
)
def test_a_command_without_a_server_can_be_stopped(words, number, code, tmp_path):
    process = start_program(words, {**os.environ, "UNDERSTUDY_DATA": str(tmp_path)})
    wait_for_handler(process)
    process.send_signal(number)
    assert_stopped(process, code, tmp_path, "Stopped.")
