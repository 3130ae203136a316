"""Runs a program that ends when its caller does, however that ends: `python -I tethered.py program argument …`, with a pipe from the caller as input.

The pipe is closed by the system when the caller is gone, also after kill -9, on Linux and on macOS alike. Linux's own signal for a parent's death would do
without this process, but it comes when the thread that started the program ends, and a pool of threads ends its threads as it likes.

A program that ends badly without being asked to has a last line in its output, with its exit code and the most memory that it used. This process ends as
the program did: with the same exit code, or by the same signal.
"""

import contextlib
import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import threading

PATIENCE = 5.0
"""Seconds between the request to end and the order to."""
ENDED = '{"event": "ended"'
"""Begin of the last line."""
CANNOT_RUN = 126
"""Exit code of a program that the system does not start, as shells have it."""


def main(command: list[str]) -> int:
    """Run the command and the processes that it starts; return its exit code, -n if it died of a signal."""
    try:
        # a group of its own: Ctrl-C in a terminal reaches the caller, which then closes the pipe
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)  # noqa: PLW1509  no thread yet
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
        return CANNOT_RUN
    asked = False

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS: a group of zombies alone
            os.killpg(program.pid, number)

    def end(*_: object) -> None:
        nonlocal asked
        asked = True
        send(signal.SIGTERM)
        order = threading.Timer(PATIENCE, send, [signal.SIGKILL])
        order.daemon = True
        order.start()

    def watch() -> None:
        # what the caller writes does not matter, only that it can
        while os.read(0, 1024):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    _, status, usage = os.wait4(program.pid, 0)
    code = program.returncode = os.waitstatus_to_exitcode(status)
    if code and not asked:
        peak = usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)
        # a program that was killed may have left half a line
        sys.stderr.write("\n" + json.dumps({"event": "ended", "code": code, "peak_bytes": peak}) + "\n")
        sys.stderr.flush()
    return code


def _end_with_parent() -> None:
    if sys.platform == "linux":  # for the case that this process is killed itself
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def end_like(code: int) -> None:
    """End this process with an exit code, or by the signal that a negative one stands for."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # the program's own memory is of interest, not this one's
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    end_like(main(sys.argv[1:]))
