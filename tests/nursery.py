"""Processes that are forked from one which has imported large libraries: torch and its trainers take eight seconds of a core, Prefect and the SDKs five."""

import gc
import importlib
import json
import os
import runpy
import select
import signal
import socket
import struct
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from core.processes import die_with_parent

CHECKOUT = Path(__file__).resolve().parents[1]  # tests/conftest.py sets variables that a command is not to have
AT_IMPORT = ("PREFECT_", "HF_", "PYTHON", "OMP_")
"""How variables begin that libraries read when they are imported."""
READY = "ready\n"
NUMBER = struct.Struct("i")


class Forked:
    """A process that was forked; what tests use of `subprocess.Popen`."""

    def __init__(self, address: str, words: Sequence[str], environment: Mapping[str, str], errors: int | None) -> None:
        """Have it forked."""
        read, write = os.pipe()
        self.args, self.stdout, self.returncode = words, os.fdopen(read, encoding="utf-8"), None
        self._nursery = socket.socket(socket.AF_UNIX)
        self._nursery.connect(address)
        asked = json.dumps({"words": words, "environment": dict(environment)}).encode() + b"\n"
        socket.send_fds(self._nursery, [asked[:1]], [write, write if errors is None else errors])
        self._nursery.sendall(asked[1:])
        os.close(write)
        (self.pid,) = NUMBER.unpack(self._nursery.recv(NUMBER.size))

    def poll(self) -> int | None:
        """Return the exit code, negative for a signal; none while it runs."""
        with suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self.returncode

    def wait(self, timeout: float | None = None) -> int:
        """Wait for the end and return the exit code."""
        if self.returncode is None:
            self._nursery.settimeout(timeout)
            try:
                (self.returncode,) = NUMBER.unpack(self._nursery.recv(NUMBER.size))
            except (TimeoutError, BlockingIOError):
                raise subprocess.TimeoutExpired(self.args, timeout or 0) from None
            self._nursery.close()
        return self.returncode

    def communicate(self, timeout: float | None = None) -> tuple[str, None]:
        """Wait for the end and return what else it says."""
        said: list[str] = []
        reader = threading.Thread(target=lambda: said.append(self.stdout.read()), daemon=True)
        reader.start()
        reader.join(timeout)
        if not said:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        self.wait(timeout)
        self.stdout.close()
        return said[0], None

    def send_signal(self, number: int) -> None:
        """Send it a signal, if it has not ended."""
        if self.poll() is None:
            os.kill(self.pid, number)


class Nursery:
    """The process of which others are forked."""

    def __init__(self, folder: Path, modules: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it; it ends with this process.

        Args:
            folder: for its socket.
            modules: that it imports.
            environment: in which it does.
        """
        self.address, self._environment = str(folder / "nursery"), dict(environment)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.nursery", self.address, *modules],
            cwd=CHECKOUT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # streams of the kind that its children have: Python remembers whether they are pipes
            text=True,
            preexec_fn=die_with_parent(),  # noqa: PLW1509
        )
        assert self._process.stdout
        if (said := self._process.stdout.readline()) != READY:
            raise RuntimeError(f"The nursery did not start: {said}{self._process.stdout.read()}")

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Return whether what was imported here would have been the same with other variables."""
        names = {name for name in {*environment, *self._environment} if name.startswith(AT_IMPORT)}
        return all(environment.get(name) == self._environment.get(name) for name in names)

    def start(self, words: Sequence[str], environment: Mapping[str, str], errors: int | None = None) -> Forked:
        """Start `python` with words.

        Args:
            words: a script, a module behind `-m` or code behind `-c`, and theirs.
            environment: its variables.
            errors: file descriptor for stderr; by default it goes where stdout goes.
        """
        return Forked(self.address, words, environment, errors)

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.communicate()


def serve(address: str) -> list[str]:
    """Fork whatever is asked for; return, in each child, the words of its command line."""
    running: dict[int, tuple[int, socket.socket]] = {}
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write(READY)
        sys.stdout.flush()
        while True:
            for found in select.select([listener.fileno(), *running], [], [])[0]:
                if found != listener.fileno():
                    pid, caller = running.pop(found)
                    os.close(found)
                    with caller, suppress(OSError):
                        caller.sendall(NUMBER.pack(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])))
                    continue
                caller = listener.accept()[0]
                text, streams, _, _ = socket.recv_fds(caller, 1, 2)
                while not text.endswith(b"\n"):
                    text += caller.recv(1 << 16)
                if (pid := os.fork()) == 0:
                    for descriptor in running:
                        os.close(descriptor)
                    for _, other in running.values():
                        other.close()
                    caller.close()
                    asked = json.loads(text)
                    return begin((streams[0], streams[1]), asked["words"], asked["environment"])
                for stream in streams:
                    os.close(stream)
                caller.sendall(NUMBER.pack(pid))
                running[os.pidfd_open(pid)] = pid, caller


def begin(streams: tuple[int, int], words: list[str], environment: dict[str, str]) -> list[str]:
    """Make of a forked process what a shell would have started."""
    os.setsid()
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs in the background may have been set to ignore Ctrl-C
    for place, stream in enumerate(streams, 1):
        os.dup2(stream, place)
        os.close(stream)
    os.environ.clear()
    os.environ |= environment
    if "prefect" in sys.modules:
        from prefect.context import refresh_global_settings_context

        refresh_global_settings_context()
    return words


def run(words: list[str]) -> None:
    """Do as `python` with these words."""
    if words[0] == "-m":
        sys.argv = words[1:]
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    elif words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(compile(words[1], "<string>", "exec"), {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path[0] = str(Path(words[0]).resolve().parent)
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    for name in sys.argv[2:]:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    run(serve(sys.argv[1]))
