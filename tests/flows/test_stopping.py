"""What is left of a command that is asked to stop, at any moment and by whomever: one sentence, an exit code, no process, no traceback."""

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


def left(folder):
    """Return the processes that work for a data root or a Prefect home below a folder; they inherit its name."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE and str(folder) in "".join(process.environ().values()):
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return found


def nothing_left(folder, seconds=6):
    end = time.monotonic() + seconds
    while (found := left(folder)) and time.monotonic() < end:
        time.sleep(0.2)
    assert not found


@pytest.fixture
def alone(command, tmp_path):
    """Start a command with a temporary server of its own."""
    return lambda *words, **options: command(*words, PREFECT_API_URL="", PREFECT_HOME=str(tmp_path / "prefect"), **options)


def wait_until_it_hears(process):
    """Wait until the process has a handler for SIGTERM, which is nearly the first thing that it does."""
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
    nothing_left(folder)


@pytest.mark.parametrize(("seconds", "number", "code"), [(0.0, signal.SIGTERM, 143), (0.0, signal.SIGINT, 130), (1.5, signal.SIGTERM, 143)])
def test_a_command_can_be_stopped_while_it_imports(alone, tmp_path, seconds, number, code):
    process = alone("generate", "--settings=config/demo.yaml", "--count=3", forks=False)
    wait_until_it_hears(process)
    time.sleep(seconds)
    process.send_signal(number)
    assert_stopped(process, code, tmp_path)


def test_a_command_can_be_stopped_while_its_server_starts(alone, tmp_path, forked):
    process = alone("generate", "--settings=config/demo.yaml", "--count=3")
    until(lambda: any("deployments/server.py" in words for words in left(tmp_path)))
    process.send_signal(signal.SIGINT)
    assert_stopped(process, 130, tmp_path)


def test_sigterm_to_make_ends_the_command_and_its_server_and_keeps_what_was_made(tmp_path, data_root, forked):
    path = write_settings(tmp_path, generation={"conversations": 300, "concurrency": 2, "exchanges": [6, 6], "progress_seconds": 0.5})
    makefile = tmp_path / "Makefile"
    makefile.write_text(
        f"SHELL := /bin/bash\ngenerate:\n\t@{sys.executable} -m flows.terminal generate $(if $(SETTINGS),--settings $(SETTINGS))\n", encoding="utf-8"
    )
    env = {**os.environ, "PREFECT_API_URL": "", "PREFECT_HOME": str(tmp_path / "prefect"), "UNDERSTUDY_DATA": str(data_root), "PREFECT_LOGGING_LEVEL": "INFO"}
    words = ["make", "-f", str(makefile), "generate", f"SETTINGS={path}"]
    process = subprocess.Popen(words, cwd=CHECKOUT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True)
    wait_for(process, r"So far: [1-9]\d* of 300")
    os.killpg(process.pid, signal.SIGTERM)  # as `timeout` does: make and the command alike, and make passes it on
    output, _ = process.communicate(timeout=240)
    assert "Traceback" not in output, output
    assert output.count(STOPPED) == 1, output
    assert process.returncode == -signal.SIGTERM
    assert list(data_root.rglob("transcripts/**/*.json"))
    nothing_left(tmp_path)


@pytest.fixture(scope="module")
def with_dataset(prefect_server, tmp_path_factory):
    """A data root with a dataset, and the settings by which it was made."""
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
    made, settings = with_dataset
    shutil.copytree(made, data_root)
    process = alone("train", f"--settings={settings}")
    wait_for(process, "train_sft runs")
    return process


def nothing_looks_finished(data_root):
    return not [path for path in (data_root / "models/adapters").iterdir() if path.is_dir() and not path.name.startswith(".")]


def test_sigterm_stops_the_job_and_asked_a_second_time_a_command_leaves_at_once_and_leaves_no_server(training, tmp_path, data_root):
    process = training
    until(lambda: any("train_sft" in words for words in left(tmp_path)))  # which is begun when it is reported
    server = next(child for child in psutil.Process(process.pid).children() if any(word.endswith("deployments/server.py") for word in child.cmdline()))
    server.suspend()  # so that the first request cannot come to its end
    process.send_signal(signal.SIGTERM)
    until(lambda: not any("train_sft" in words for words in left(tmp_path)))
    time.sleep(1.5)  # what follows within a second is the same request
    assert process.poll() is None
    process.send_signal(signal.SIGINT)
    assert_stopped(process, 143, tmp_path)
    assert nothing_looks_finished(data_root)


def test_ctrl_c_in_a_terminal_stops_job_and_server_and_leaves_nothing_that_looks_finished(training, tmp_path, data_root):
    time.sleep(1)
    assert len(psutil.Process(training.pid).children(recursive=True)) >= 2  # the job and the server
    os.killpg(training.pid, signal.SIGINT)  # to the whole group, as a terminal does
    assert_stopped(training, 130, tmp_path)
    assert nothing_looks_finished(data_root)


def test_sigterm_while_the_ends_of_tasks_are_recorded_is_heard(alone, tmp_path, forked):
    process = alone("generate", "--settings=config/demo.yaml", "--count=3")
    wait_for(process, "The run so far")
    process.send_signal(signal.SIGTERM)
    assert_stopped(process, 143, tmp_path)


@pytest.mark.parametrize(
    ("words", "number", "code"),
    [(["costs"], signal.SIGTERM, 143), (["check-models"], signal.SIGINT, 130), (["personas", "--count=5"], signal.SIGTERM, 143)],
)
def test_the_smaller_commands_can_be_stopped_too(words, number, code, tmp_path):
    process = start_program(words, {**os.environ, "UNDERSTUDY_DATA": str(tmp_path)})
    wait_until_it_hears(process)
    process.send_signal(number)
    assert_stopped(process, code, tmp_path, "Stopped.")
