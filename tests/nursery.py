"""Processes that are forked from one which has imported large libraries: torch and its trainers take eight seconds of a core, Prefect and the SDKs five.

A test starts them by `Nursery.start`. What the project itself starts by `sys.executable` is forked too while that is a `forked_python`.
"""

import atexit
import ctypes
import fcntl
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
import warnings
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any
from uuid import uuid4

from core.fingerprint import fingerprint

CHECKOUT = Path(__file__).resolve().parents[1]  # tests/conftest.py sets variables that a command is not to have
AT_IMPORT = ("PREFECT_LOGGING_", "HF_", "PYTHON", "OMP_")
"""How variables begin that libraries read when they are imported."""
OF_THE_HUB = ("HF_ENDPOINT", "HF_HUB_", "HF_DATASETS_OFFLINE")
"""How those of them begin that are read again in the forked process, by these modules."""
READERS = ("huggingface_hub.constants", "datasets.config")
LATER = ("PYTHONUNBUFFERED", "PYTHONWARNINGS", "HF_HOME", "HF_TOKEN", "PREFECT_LOGGING_LEVEL", *OF_THE_HUB)
"""How those begin that may be others there."""
REFUSED = 0
"""In place of the number of a process: it would not be as if it had been started by itself."""
REAL_PYTHON = sys.executable
ONLY = 'ONLY = ("",)'
"""A line of forked_python.py."""
READY = "ready\n"
NUMBER = struct.Struct("i")


class Forked:
    """A process that was forked; what tests use of `subprocess.Popen`."""

    def __init__(self, address: str, words: Sequence[str], environment: Mapping[str, str], errors: int | None, stdin: int | None) -> None:
        """Have it forked."""
        read, write = os.pipe()
        self.args, self.stdout, self.returncode = words, os.fdopen(read, encoding="utf-8"), None
        self._nursery = socket.socket(socket.AF_UNIX)
        self._nursery.connect(address)
        given = {"words": words, "environment": dict(environment), "folder": str(CHECKOUT), "python": sys.executable, "any": True}
        asked = json.dumps(given).encode() + b"\n"
        with Path(os.devnull).open() as nothing:
            socket.send_fds(self._nursery, [asked[:1]], [nothing.fileno() if stdin is None else stdin, write, write if errors is None else errors])
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

    def __init__(
        self, folder: Path, modules: Sequence[str], environment: Mapping[str, str], programs: Sequence[str] = (), shared_by: int | None = None
    ) -> None:
        """Start it, or share the one that is there; it ends with this process, or with the one whose children share it.

        Args:
            folder: for its socket.
            modules: that it imports.
            environment: in which it does.
            programs: with which words begin that the folder's `forked_python` has forked here.
            shared_by: number of the process whose children have one in this folder together; by default this process has one of its own.
        """
        folder.mkdir(exist_ok=True)
        self.address, self._environment = f"{folder}/{'shared' if shared_by else uuid4().hex[:8]}.socket", dict(environment)
        self._owner, self._process = shared_by or os.getpid(), None
        with (folder / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not Path(self.address).exists():
                self._process = self._begin(modules, programs)

    def _begin(self, modules: Sequence[str], programs: Sequence[str]) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [REAL_PYTHON, "-m", "tests.nursery", self.address, json.dumps([modules, programs, self._owner])],
            cwd=CHECKOUT,
            env=self._environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,  # streams of the kind that its children have: Python remembers whether they are pipes
            text=True,
        )
        assert process.stdout
        if (said := process.stdout.readline()) != READY:
            raise RuntimeError(f"The nursery did not start: {said}{process.stdout.read()}")
        return process

    def fits(self, environment: Mapping[str, str]) -> bool:
        """Return whether what was imported here would have been the same with other variables."""
        return alike(self._environment, environment)

    def start(self, words: Sequence[str], environment: Mapping[str, str], errors: int | None = None, stdin: int | None = None) -> Forked:
        """Start `python` with words.

        Args:
            words: a script, a module behind `-m` or code behind `-c`, and theirs.
            environment: its variables.
            errors: file descriptor for stderr; by default it goes where stdout goes.
            stdin: file descriptor; by default there is nothing to read.
        """
        return Forked(self.address, words, environment, errors, stdin)

    def close(self) -> None:
        """End it, unless others share it."""
        if self._process and self._owner == os.getpid():
            self._process.kill()
            self._process.communicate()
            Path(self.address).unlink(missing_ok=True)
        with warnings.catch_warnings(action="ignore", category=ResourceWarning):
            self._process = None  # still running for others, it ends with the one who owns it


def alike(one: Mapping[str, str], other: Mapping[str, str]) -> bool:
    """Return whether libraries that are imported find the same in two environments."""
    names = {name for name in {*one, *other} if name.startswith(AT_IMPORT) and not name.startswith(LATER)}
    return all(one.get(name) == other.get(name) for name in names)


def forked_python(folder: Path, only: Sequence[str] = ("",)) -> str:
    """Return the path of a program that does as `python`, faster: it has done what it can by the nurseries of a folder.

    What it starts is not below it in the tree of processes. It passes signals on, ends as that does, and that is killed when it is.

    Args:
        folder: with their sockets.
        only: with which words begin that are forked; others are run by Python itself, even if a nursery would.
    """
    folder.mkdir(exist_ok=True)
    path = folder / f"python-{fingerprint(only)[:8]}"
    body = Path(__file__).with_name("forked_python.py").read_text(encoding="utf-8")
    path.write_text(f"#!{REAL_PYTHON} -IS\n{body.replace(ONLY, f'ONLY = {tuple(only)!r}')}", encoding="utf-8")
    path.chmod(0o700)
    return str(path)


@dataclass
class Child:
    """A process that was forked, and who asked for it."""

    pid: int
    caller: socket.socket
    ended: int

    def end(self) -> None:
        """Tell the caller how it ended."""
        code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])
        os.close(self.ended)
        with self.caller, suppress(OSError):
            self.caller.sendall(NUMBER.pack(code))

    def kill(self) -> None:
        """End it and its group, since its caller is gone."""
        for kill in (os.killpg, os.kill):
            with suppress(OSError):
                kill(self.pid, signal.SIGKILL)


Paths = list[tuple[ModuleType, str, str | Path]]


def serve(address: str, programs: Sequence[str], owner: int) -> list[str]:
    """Fork whatever is asked for until a process ends; return, in each child, the words of its command line."""
    running: list[Child] = []
    caches = paths_below(os.environ.get("HF_HOME"))
    own, owned = dict(os.environ), os.pidfd_open(owner)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(address)
        listener.listen()
        sys.stdout.write(READY)
        sys.stdout.flush()
        while True:
            found = select.select([owned, listener, *(child.ended for child in running), *(child.caller for child in running)], [], [])[0]
            for child in [child for child in running if child.ended in found]:
                running.remove(child)
                child.end()
            for child in [child for child in running if child.caller in found]:
                child.kill()
            if owned in found:
                for child in running:
                    child.kill()
                os._exit(0)
            if listener not in found:
                continue
            caller = listener.accept()[0]
            text, streams, _, _ = socket.recv_fds(caller, 1, 3)
            while text and not text.endswith(b"\n"):
                text += caller.recv(1 << 16)
            asked = json.loads(text or "null")
            if not asked or not (asked["any"] or (alike(own, asked["environment"]) and " ".join(asked["words"]).startswith(tuple(programs)))):
                with caller, suppress(OSError):
                    caller.sendall(NUMBER.pack(REFUSED))
            elif (pid := os.fork()) == 0:
                for child in running:
                    os.close(child.ended)
                    child.caller.close()
                caller.close()
                os.close(owned)
                return begin(streams, caches, **asked)
            else:
                running.append(Child(pid, caller, os.pidfd_open(pid)))
                with suppress(OSError):
                    caller.sendall(NUMBER.pack(pid))
            for stream in streams:
                os.close(stream)


def begin(streams: list[int], caches: Paths, words: list[str], environment: dict[str, str], folder: str, python: str, **_: Any) -> list[str]:
    """Make of a forked process what a shell would have started."""
    os.setsid()
    os.chdir(folder)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a suite that runs in the background may have been set to ignore Ctrl-C
    for place, stream in enumerate(streams):
        os.dup2(stream, place)
        os.close(stream)
    if new := environment.get("HF_HOME"):
        for module, name, value in caches:
            setattr(module, name, type(value)(str(value).replace(os.environ["HF_HOME"], new, 1)))
    before = dict(os.environ)
    os.environ.clear()
    show_as([python, *words], environment)
    os.environ |= environment
    if any(before.get(name) != environment.get(name) for name in {*before, *environment} if name.startswith(OF_THE_HUB)):
        read_again()
    sys.executable = python
    if "PYTHONUNBUFFERED" in environment:
        sys.stdout.reconfigure(line_buffering=True)  # ty: ignore[missing-union-attribute]
    if environment.get("PYTHONWARNINGS") == "ignore":
        warnings.simplefilter("ignore")
    if "prefect" in sys.modules:
        import prefect.context
        import prefect.logging.configuration

        if before.get("PREFECT_LOGGING_LEVEL") != environment.get("PREFECT_LOGGING_LEVEL"):
            prefect.context.GLOBAL_SETTINGS_CONTEXT = Unread()  # ty: ignore[invalid-assignment]
            prefect.logging.configuration.setup_logging()
        prefect.context.GLOBAL_SETTINGS_CONTEXT = Unread()  # ty: ignore[invalid-assignment]
    return words


def show_as(words: Sequence[str], environment: Mapping[str, str]) -> None:
    """Have the system list this process with a command line and variables of its own, as far as there is room for them, not with those of the nursery."""
    fields = Path("/proc/self/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
    variables = (f"{name}={value}" for name, value in sorted(environment.items(), key=lambda pair: not pair[0].startswith(("PREFECT_HOME", "UNDERSTUDY_"))))
    for texts, begin, end in ((words, *map(int, fields[45:47])), (variables, *map(int, fields[47:49]))):
        shown = b"".join(text.encode() + b"\0" for text in texts)[: end - begin - 1]
        ctypes.memmove(begin, shown.ljust(end - begin, b"\0"), end - begin)


def paths_below(folder: str | None) -> Paths:
    """Return the variables that libraries set to a path below a folder when they were imported. Looking for them in each child would copy its memory."""
    return [
        (module, name, value)
        for module in list(sys.modules.values())
        if folder
        for name, value in list(getattr(module, "__dict__", {}).items())
        if issubclass(type(value), str | Path) and (str(value) == folder or str(value).startswith(f"{folder}/"))
    ]


def read_again() -> None:
    """Have the Hub's libraries read their variables, and give what they read now to all who have imported it by its name."""
    for reader in READERS:
        if not (module := sys.modules.get(reader)):
            continue
        old = dict(vars(module))
        importlib.reload(module)
        changed = {name: value for name, value in vars(module).items() if name.isupper() and old.get(name) != value}
        for other in list(sys.modules.values()):
            names = getattr(other, "__dict__", {})
            for name in changed.keys() & names.keys():
                if names[name] is old.get(name):
                    setattr(other, name, changed[name])


class Unread:
    """Prefect's settings, which are read at their first use here: commands set variables before they import it."""

    def __getattr__(self, name: str) -> Any:
        """Read them."""
        import prefect.context

        prefect.context.GLOBAL_SETTINGS_CONTEXT = None  # ty: ignore[invalid-assignment]  as while it is imported
        prefect.context.refresh_global_settings_context()
        return getattr(prefect.context.GLOBAL_SETTINGS_CONTEXT, name)


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


def leave(ended: SystemExit) -> None:
    """End a forked process as Python does, but leave its modules to the system: to take them apart, which copies their memory, takes a third of a second.

    Raises:
        SystemExit: Python has to say something more.
    """
    if not isinstance(ended.code, int | None):
        raise ended
    threading._shutdown()  # ty: ignore[missing-attribute]
    atexit._run_exitfuncs()
    try:
        sys.stdout.flush()
        sys.stderr.flush()
    except (OSError, ValueError):
        raise ended from None
    os._exit((ended.code or 0) & 0xFF)


if __name__ == "__main__":
    modules, programs, owner = json.loads(sys.argv[2])
    for name in modules:
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    begun = serve(sys.argv[1], programs, owner)
    try:
        run(begun)
    except SystemExit as ended:
        leave(ended)
    leave(SystemExit(0))
