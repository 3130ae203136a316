"""Runs a command under a file lock: `python lock.py FILE command …`. A second call prints that it waits, and waits.

The command replaces this process and inherits the lock. The system releases the lock when the last process that holds it ends, for any reason.
"""

import fcntl
import os
import sys
from pathlib import Path

HELD_VARIABLE = "INSTALL_LOCK_HOLDER"
NUMBER = 9
"""Number of the lock's file descriptor, which the command inherits. It is fixed so that the command can close it for processes that outlive it."""


def main(path: Path, command: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = os.dup2(os.open(path, os.O_RDWR | os.O_CREAT, 0o644), NUMBER, inheritable=True)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(handle, 20, 0).decode(errors="replace").strip()
        print(f"Another installation uses {path.parent}{f' (process {holder})' if holder else ''}; this one waits until it has ended.", file=sys.stderr)
        fcntl.flock(handle, fcntl.LOCK_EX)
    except OSError as error:  # some network file systems have no locks
        print(f"{path} cannot be locked ({error.strerror}). Make sure that no second installation runs at the same time.", file=sys.stderr)
    os.ftruncate(handle, 0)
    os.pwrite(handle, f"{os.getpid()}\n".encode(), 0)
    os.environ[HELD_VARIABLE] = str(os.getpid())
    os.execvp(command[0], command)


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), sys.argv[2:])
    except KeyboardInterrupt:
        sys.exit(130)
    except OSError as error:
        sys.exit(f"{error.filename or sys.argv[1]}: {error.strerror}. Set UNDERSTUDY_CACHE to a folder that can be written.")
