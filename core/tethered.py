"""Runs a program that ends when its caller does, however that ends: `python -I tethered.py program argument …`, with a pipe from the caller as input.

The pipe is closed by the system when the caller is gone, also after kill -9, on Linux and on macOS alike. Linux's own signal for a parent's death would do
without this process, but it comes when the thread that started the program ends, and a pool of threads ends its threads as it likes.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading

PATIENCE = 5.0
"""Seconds between the request to end and the order to."""


def main(command: list[str]) -> int:
    """Run the command; return its exit code."""
    # a group of its own: Ctrl-C in a terminal reaches the caller, which then closes the pipe
    program = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)

    def end(*_: object) -> None:
        with contextlib.suppress(ProcessLookupError):
            program.terminate()
        try:
            program.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            program.kill()

    def watch() -> None:
        # what the caller writes does not matter, only that it can
        while os.read(0, 1024):
            pass
        end()

    signal.signal(signal.SIGTERM, end)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=watch, daemon=True).start()
    return program.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
