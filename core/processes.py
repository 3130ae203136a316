"""Queries to the operating system about other processes, and signals to them."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

PR_SET_PDEATHSIG = 1
"""prctl(2), Linux: send this process a signal when its parent dies."""


def die_with_parent() -> Callable[[], None] | None:
    """Return a function for a child process to call first, so that it ends when its parent is killed; None if the system has no such feature."""
    return _ask_for_signal if sys.platform == "linux" else None


def is_running(pid: int) -> bool:
    """Return whether a process with this ID exists."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def descendants(pid: int) -> list[int]:
    """Return the process IDs of all children of a process, their children, and so on."""
    by_parent: dict[int, list[int]] = {}
    for child, parent in _parents():
        by_parent.setdefault(parent, []).append(child)
    pids = list(by_parent.get(pid, []))
    for child in pids:
        pids += by_parent.get(child, [])
    return pids


def children(pid: int) -> list[int]:
    """Return the process IDs of the direct children of a process."""
    return [child for child, parent in _parents() if parent == pid]


def end_processes(pids: list[int], seconds: float, asked: list[int] | None = None, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask processes to end; after some seconds, kill those that have not ended.

    Args:
        pids: the processes to wait for, and to kill if necessary.
        seconds: how long to wait before killing.
        asked: the processes that receive the signal; None for all. The others are expected to end with them.
        how: the signal that asks.
    """
    _signal(pids if asked is None else asked, how)
    until = time.monotonic() + seconds
    while (pids := [pid for pid in pids if _is_alive(pid)]) and time.monotonic() < until:
        time.sleep(0.05)
    _signal(pids, signal.SIGKILL)


def _ask_for_signal() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)


def _signal(pids: list[int], number: signal.Signals) -> None:
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def _is_alive(pid: int) -> bool:
    """Return whether a process exists and is not a zombie, which is one that has ended but whose parent has not yet collected its exit status."""
    with contextlib.suppress(ChildProcessError):
        os.waitpid(pid, os.WNOHANG)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[0] != "Z"
    return sys.platform != "linux"


def _parents() -> list[tuple[int, int]]:
    """Return the ID of each process on this machine with that of its parent."""
    if not Path("/proc/self/stat").exists():
        output = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [(int(pid), int(parent)) for pid, parent in (line.split() for line in output.splitlines())]
    pairs = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            pairs.append((int(text.partition(" ")[0]), int(text.rpartition(")")[2].split()[1])))
    return pairs
