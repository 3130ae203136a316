"""Runs a program that ends when its caller ends for any reason: `python -I tethered.py program argument …`, with a pipe from the caller as input.

The system closes the pipe when the caller has ended, even after kill -9, on Linux and on macOS. Linux's own signal for a parent's death would not need this
process, but it is sent when the thread that started the program ends, and a thread pool may end its threads at any time.

If a program fails without being asked to end, this process writes a last line to its output, with the exit code and the maximum memory used. It then ends
as the program did: with the same exit code, or by the same signal.
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
"""Seconds between the request to end (SIGTERM) and the kill (SIGKILL)."""
ENDED = '{"event": "ended"'
"""Beginning of the last line."""
CANNOT_RUN = 126
"""Exit code if the system cannot start the program, as in shells."""


def main(command: list[str]) -> int:
    """Run a command until it ends, and return its exit code, which is -n if signal n ended it; its process group is ended with the caller."""
    try:
        # a separate process group: Ctrl-C in a terminal reaches only the caller, which then closes the pipe
        program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True, preexec_fn=_end_with_parent)  # noqa: PLW1509  no thread yet
    except (OSError, subprocess.SubprocessError) as error:
        sys.stderr.write(f"{command[0]} cannot be started: {error}\n")
        return CANNOT_RUN
    asked = False

    def send(number: int) -> None:
        with contextlib.suppress(ProcessLookupError, PermissionError):  # macOS raises the latter for a group of only zombies
            os.killpg(program.pid, number)

    def end(*_: object) -> None:
        nonlocal asked
        asked = True
        send(signal.SIGTERM)
        kill = threading.Timer(PATIENCE, send, [signal.SIGKILL])
        kill.daemon = True
        kill.start()

    def watch() -> None:
        # what the caller writes is ignored; the read ends when the pipe is closed
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
        # the leading line break ends an incomplete line of a killed program
        sys.stderr.write("\n" + json.dumps({"event": "ended", "code": code, "peak_bytes": peak}) + "\n")
        sys.stderr.flush()
    return code


def _end_with_parent() -> None:
    if sys.platform == "linux":  # in case this process itself is killed
        ctypes.CDLL(None).prctl(1, signal.SIGTERM)  # PR_SET_PDEATHSIG


def end_like(code: int) -> None:
    """End this process with an exit code or, if it is negative, by the corresponding signal."""
    if code < 0:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # only a core dump of the program itself is useful
        if -code not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code if code >= 0 else 128 - code)


if __name__ == "__main__":
    end_like(main(sys.argv[1:]))
