"""The report on a program killed by a signal."""

import os
import re
import signal
import subprocess
import sys

import pytest

import core.machine.tethered
from core.machine.deaths import PORTABLE, ended, explain, peak_of, probe, signal_name, step
from core.machine.memory import Memory, read_memory

SUICIDE = "import os, sys, signal; os.kill(os.getpid(), getattr(signal, sys.argv[1]))"
DEADLY = ["SIGSEGV", "SIGILL", "SIGKILL", "SIGABRT", "SIGFPE", "SIGBUS", "SIGTERM"]


def tethered(*command):
    """Run a program under a tether whose other end stays open."""
    read, held = os.pipe()
    try:
        return subprocess.run([sys.executable, "-I", core.machine.tethered.__file__, *command], stdin=read, capture_output=True, text=True, check=False)
    finally:
        os.close(read)
        os.close(held)


@pytest.mark.parametrize("name", DEADLY)
def test_a_signal_is_named_in_the_exit_codes_of_python_and_shells(name):
    code = subprocess.run([sys.executable, "-c", SUICIDE, name], check=False).returncode
    shell = subprocess.run(["/bin/sh", "-c", f"{sys.executable} -c '{SUICIDE}' {name}; exit $?"], capture_output=True, check=False).returncode
    assert (code < 0, shell > 128) == (True, True)
    assert (signal_name(code), signal_name(shell)) == (name, name)
    assert ended(code) == ended(shell)
    assert ended(code).startswith(f"died of {name} (")


@pytest.mark.parametrize("code", [0, 1, 2, 3, 126, 127, 128, 130, 255])
def test_other_exit_codes_are_not_signals(code):
    assert not signal_name(code)
    assert ended(code) == f"ended with exit code {code}"


@pytest.mark.parametrize("name", DEADLY)
def test_the_signal_that_kills_a_tethered_program_is_reported(name):
    # after half a line, as a killed program leaves it
    done = tethered(sys.executable, "-c", f"print('Loading', end='', flush=True); {SUICIDE}", name)
    assert done.returncode == -getattr(signal, name)
    assert done.stdout == "Loading"
    (peak,) = [peak for line in done.stderr.splitlines() if (peak := peak_of(line)) is not None]
    assert 1e6 < peak < 1e9


@pytest.mark.slow
def test_the_reported_memory_is_that_of_the_tethered_program():
    small, large = (tethered(sys.executable, "-c", f"held = bytearray({size}); raise SystemExit(3)") for size in (1, 300_000_000))
    assert (small.returncode, large.returncode) == (3, 3)
    peaks = [peak_of(done.stderr.splitlines()[-1]) or 0 for done in (small, large)]
    assert peaks[1] - peaks[0] == pytest.approx(300_000_000, rel=0.1)


def test_a_tethered_program_that_succeeds_leaves_no_message():
    done = tethered(sys.executable, "-c", "print('Done.')")
    assert (done.returncode, done.stdout, done.stderr) == (0, "Done.\n", "")


def test_a_file_that_is_not_executable_is_named(tmp_path):
    program = tmp_path / "program"
    program.write_bytes(b"\x7fELF of another machine")
    program.chmod(0o755)
    done = tethered(str(program))
    assert done.returncode == core.machine.tethered.CANNOT_RUN
    assert done.stderr.startswith(f"{program} cannot be started: ")
    assert "Traceback" not in done.stderr


def test_a_program_whose_tether_is_killed_ends_too():
    script = "import time; print('ready', flush=True); time.sleep(30); print('still there')"
    tether = subprocess.Popen(
        [sys.executable, "-I", core.machine.tethered.__file__, sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert tether.stdout
    assert tether.stdout.readline() == "ready\n"
    tether.kill() if sys.platform == "linux" else tether.terminate()
    assert not tether.stdout.read()  # the program's end of the pipe is closed when it ends
    tether.communicate()


def test_a_kill_is_reported_with_memory_used_and_free():
    words = explain("The job train_sft", -9, "at step 12 of 40", 3_100_000_000, read_memory())
    assert words.startswith("The job train_sft died of SIGKILL (")
    assert "at step 12 of 40. It used up to 3.1 GB of memory; " in words
    assert "are free now" in words or sys.platform != "linux"


def test_the_kernels_oom_counter_decides_whether_memory_was_the_cause(monkeypatch):
    monkeypatch.setattr("core.machine.deaths.read_memory", lambda: Memory(20_000_000_000, 24_000_000_000, 4_000_000_000, 3))
    killed = explain("The job x", -9, "", None, Memory(1, 1, 1, 2))
    assert "20.0 GB of 24.0 GB are free now, its control group is limited to 4.0 GB" in killed
    assert "so a lack of memory is the cause: use a smaller model" in killed
    other = explain("The job x", -9, "", None, Memory(1, 1, 1, 3))
    assert "counted no out-of-memory kill" in other
    unknown = explain("The job x", -9, "", None, Memory(None, 1, None, None))
    assert "If memory was short, use a smaller model" in unknown


def files(root, contents):
    for name, text in contents.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="ascii")
    return root


MACHINE = {"proc/meminfo": "MemTotal:       24000000 kB\nMemFree:  1 kB\nMemAvailable:   20000000 kB\n", "proc/vmstat": "nr_free_pages 1\noom_kill 7\n"}
TOTALS = (20_480_000_000, 24_576_000_000)
GROUPS = {
    "version 2": (
        {
            "proc/self/cgroup": "0::/system/job\n",
            "sys/fs/cgroup/cgroup.controllers": "memory\n",
            "sys/fs/cgroup/system/memory.max": "4000000000\n",
            "sys/fs/cgroup/system/job/memory.max": "max\n",
            "sys/fs/cgroup/system/job/memory.events": "low 0\noom 2\noom_kill 2\n",
        },
        Memory(*TOTALS, 4_000_000_000, 2),
    ),
    "version 1": (
        {
            "proc/self/cgroup": "5:cpu:/\n4:memory:/job\n0::/\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
            "sys/fs/cgroup/memory/job/memory.limit_in_bytes": "2000000000\n",
            "sys/fs/cgroup/memory/job/memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 1\n",
        },
        Memory(*TOTALS, 2_000_000_000, 1),
    ),
    "a container that sees the path of its host": (
        {
            "proc/self/cgroup": "4:memory:/docker/abc\n",
            "sys/fs/cgroup/memory/memory.limit_in_bytes": "1000000000\n",
            "sys/fs/cgroup/memory/memory.oom_control": "oom_kill 5\n",
        },
        Memory(*TOTALS, 1_000_000_000, 5),
    ),
    "no groups": ({}, Memory(*TOTALS, None, 7)),
}


@pytest.mark.parametrize("case", GROUPS)
def test_the_memory_limit_of_the_control_group_is_read(tmp_path, case):
    contents, wanted = GROUPS[case]
    assert read_memory(files(tmp_path, MACHINE | contents)) == wanted


def test_without_the_kernels_files_the_report_is_shorter(tmp_path):
    memory = read_memory(tmp_path)
    assert (memory.free, memory.limit, memory.kills) == (None, None, None)
    assert memory.total == os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    assert str(memory).startswith("the machine has ")


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("print('{}')", "decodes a tiny model on this CPU, so the likely cause is the model"),
        (f"import sys; sys.argv[1:] = ['SIGILL']; {SUICIDE}", r"died of SIGILL \(.*\) too: the installed build does not fit this CPU"),
        ("raise SystemExit('It computes wrong numbers.')", r"ended with exit code 1 \(It computes wrong numbers\)"),
    ],
)
def test_the_probe_decides_between_the_build_and_the_model(code, words):
    verdict = probe([sys.executable, "-c", code])
    assert re.search(words, verdict)
    assert (PORTABLE in verdict) == ("decodes" not in verdict)
    assert verdict in explain("llama-server", -signal.SIGSEGV, verdict=verdict)


def test_a_missing_probe_is_reported():
    assert "could not be started: No such file" in probe(["/nowhere/probe"])


@pytest.mark.parametrize(
    ("event", "words"),
    [({"step": "converting"}, "while converting"), ({"step": 3, "of": 40}, "at step 3 of 40"), ({"step": 3}, "at step 3"), ({}, "")],
)
def test_a_step_is_reported_with_the_jobs_own_name_for_it(event, words):
    assert step(event) == words
