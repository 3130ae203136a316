"""What we ask of the operating system about other processes."""

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
"""prctl(2), Linux: send this process a signal when its parent is gone."""


def die_with_parent() -> Callable[[], None] | None:
    """Return what a child process is to call first, so that it ends when its parent is killed; none where the system cannot do it."""
    return _ask_for_signal if sys.platform == "linux" else None


def is_running(pid: int) -> bool:
    """Say whether there is a process of this number."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def descendants(pid: int) -> list[int]:
    """Return the processes that a process started, and those that they started."""
    by_parent: dict[int, list[int]] = {}
    for child, parent in _parents():
        by_parent.setdefault(parent, []).append(child)
    found = list(by_parent.get(pid, []))
    for child in found:
        found += by_parent.get(child, [])
    return found


def children(pid: int) -> list[int]:
    """Return the processes that a process started itself."""
    return [child for child, parent in _parents() if parent == pid]


def end_processes(pids: list[int], seconds: float, asked: list[int] | None = None, how: signal.Signals = signal.SIGTERM) -> None:
    """Ask processes to end; after some seconds, kill those that have not.

    Args:
        asked: those that are asked, where the others end with them; by default all.
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
    """Say whether a process is there and has not ended; one that ended stays in the system's list until its parent has asked."""
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
    """Return each process of this machine with its parent."""
    if not Path("/proc/self/stat").exists():
        listed = subprocess.run(["ps", "-axo", "pid=,ppid="], capture_output=True, text=True, check=True).stdout
        return [(int(pid), int(parent)) for pid, parent in (line.split() for line in listed.splitlines())]
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            text = stat.read_text(encoding="utf-8", errors="replace")
            found.append((int(text.partition(" ")[0]), int(text.rpartition(")")[2].split()[1])))
    return found
