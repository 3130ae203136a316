"""Stops a command on request: by Ctrl-C, or by SIGTERM from systemd, Kubernetes, CI, `timeout` and make.

The work runs in a separate thread. The main thread only waits, so it can handle a signal at any moment, and no work is interrupted halfway. Prefect
installs a handler for SIGTERM that raises in the middle of the event loop, but only in the main thread.
"""

import asyncio
import contextlib
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from contextvars import copy_context
from dataclasses import dataclass
from types import FrameType
from typing import Any, TypeVar

from core.processes import descendants, end_processes

ONE_REQUEST = 1.0
"""Seconds within which several signals are one request, because `timeout` and make each pass a signal on."""

PATIENCE = 3.0
"""Seconds that child processes have to end after the second request to stop."""

Result = TypeVar("Result")


@dataclass
class _Stop:
    """The state of a request to stop this process.

    Args:
        sentence: printed when the process ends.
        number: number of the signal; None if there was no request.
        at: time of the request.
        cancel: cancels the work under way; None if there is none.
        printed: whether the sentence was printed.
    """

    sentence: str = "Stopped."
    number: int | None = None
    at: float = 0.0
    cancel: Callable[[], None] | None = None
    printed: bool = False


_STOP = _Stop()


def stop_on_signals(sentence: str = "Stopped.") -> None:
    """Make Ctrl-C and SIGTERM end this process with one sentence and exit code 130 or 143; a second one ends it and its children at once.

    Args:
        sentence: printed when the process ends.
    """
    _STOP.sentence = sentence
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is not signal.SIG_IGN:  # a shell makes background jobs ignore Ctrl-C
            signal.signal(number, _on_signal)


def stopped() -> int | None:
    """Return the exit code for a process that was asked to stop; None if it was not."""
    return None if _STOP.number is None else 128 + _STOP.number


def run_stoppable(work: Coroutine[Any, Any, Result]) -> Result:
    """Run a coroutine to its end in a separate thread; a signal cancels it.

    Raises:
        asyncio.CancelledError: a signal came, and the work has ended.
    """
    outcome: Future[Result] = Future()
    under_way: list[tuple[asyncio.AbstractEventLoop, asyncio.Task[Any]]] = []

    def cancel() -> None:
        for loop, task in under_way:
            with contextlib.suppress(RuntimeError):  # the loop is closed already
                loop.call_soon_threadsafe(task.cancel)

    async def cancellable() -> Result:
        task = asyncio.current_task()
        assert task is not None
        under_way.append((asyncio.get_running_loop(), task))
        if _STOP.number is not None:  # the signal came while the thread was starting
            task.cancel()
        return await work

    def run() -> None:
        try:
            outcome.set_result(asyncio.run(cancellable()))
        except BaseException as error:
            outcome.set_exception(error)

    _STOP.cancel = cancel
    try:
        thread = threading.Thread(target=copy_context().run, args=(run,), name="work")
        thread.start()
        thread.join()
    finally:
        _STOP.cancel = None
    return outcome.result()


def leave(code: int) -> None:
    """End the process; a signal during the libraries' cleanup ends it at once.

    Raises:
        SystemExit: always.
    """
    for number in (signal.SIGINT, signal.SIGTERM):
        if signal.getsignal(number) is _on_signal:
            signal.signal(number, lambda *_: os._exit(code))
    sys.exit(code)


def _on_signal(number: int, _: FrameType | None) -> None:
    if _STOP.number is None:
        _STOP.number, _STOP.at = number, time.monotonic()
        if _STOP.cancel:
            _STOP.cancel()
            return
        say_stopped()
        raise SystemExit(128 + number)
    if time.monotonic() - _STOP.at > ONE_REQUEST:
        end_processes(descendants(os.getpid()), PATIENCE)
        say_stopped()
        os._exit(128 + _STOP.number)


def say_stopped() -> None:
    """Print the sentence of `stop_on_signals`, once."""
    if not _STOP.printed:
        _STOP.printed = True
        say(_STOP.sentence)


def say(sentence: str) -> None:
    """Print a sentence to standard error, on the line below the `^C` that a terminal shows."""
    with contextlib.suppress(OSError):
        os.write(2, f"\n{sentence}\n".encode())
