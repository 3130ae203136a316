"""What we ask of the operating system about other processes."""

import ctypes
import os
import signal
import sys
from collections.abc import Callable

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


def _ask_for_signal() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGTERM)
