"""Output to terminals and logs: untrusted text can neither control the terminal nor imitate a line of the product.

Only `show_text` and the progress line print. Log records and errors are cleaned when they are created, so a forgotten place is safe.
"""

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements, erasing
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # titles, links, the clipboard
    r"|\x1b[ -/]*[0-Z\\`-~]"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters except tab and line feed, marks that change the direction of writing, and lone surrogates."""


@dataclass(frozen=True)
class Answer:
    """The result of a command.

    Args:
        text: the result for people.
        data: the same for scripts (`--json`): plain data, dataclasses and models.
        code: the exit code.
    """

    text: str
    data: Mapping[str, Any]
    code: int = 0


def printable(text: str) -> str:
    """Return a text without control sequences and control characters; its line breaks stay."""
    return CONTROLS.sub("", SEQUENCE.sub("", text))


def one_line(text: str) -> str:
    """Return a text as one line without control characters, which cannot pass for two lines of a log."""
    lines = text.splitlines()
    return " ".join(filter(None, (printable(line).strip() for line in lines))) if len(lines) > 1 else printable("".join(lines))


def show(*lines: object, error: bool = False) -> None:
    """Print each argument as exactly one line, to standard output or, with `error`, to standard error."""
    for line in lines:
        show_text(one_line(str(line)), error)


def show_text(text: str, error: bool = False, end: str = "\n") -> None:
    """Print a text that may have several lines: a report, a table, a model's reply."""
    with _LINE.hidden():
        print(printable(text), file=sys.stderr if error else sys.stdout, end=end, flush=True)


def show_error(error: object) -> None:
    """Print an error to standard error; lines after the first are indented, so that none of them can imitate a line of the product."""
    first, *more = str(error).splitlines() or [""]
    show(f"Error: {first}", *(f"  {line}" for line in more), error=True)


def _nothing() -> float:
    return 0.0


class MovingLine:
    """A line at the bottom of the terminal with a command's progress, shown within `shown()` if standard error is a terminal."""

    def __init__(self) -> None:
        self.spent: Callable[[], float] = _nothing
        self._display: Any = None
        self._what = ("", "")
        self._lock = threading.RLock()

    @contextmanager
    def shown(self) -> Generator[None]:
        """Show the line while the block runs."""
        display = _new_display(self) if sys.stderr.isatty() else None
        if display:
            display.start()
        self._display = display
        try:
            yield
        finally:
            with self._lock:
                if display:
                    display.stop()
                self._display, self._what, self.spent = None, ("", ""), _nothing  # releases the bill's file

    @contextmanager
    def hidden(self) -> Generator[None]:
        """Hide the line while something else is printed."""
        with self._lock:
            display = self._display
            if display is None:
                yield
                return
            display.stop()
            try:
                yield
            finally:
                display.start()

    def say(self, what: str) -> bool:
        """Show the current activity, unless the line is showing an unfinished count; return whether the line is shown."""
        with self._lock:
            task = self._display.tasks[0] if self._display else None
            counting = task is not None and task.total is not None and task.completed < task.total
            return counting or self.move(what, 0, None, "")

    def move(self, what: str, done: float, total: float | None, unit: str) -> bool:
        """Show how much of an activity is done; return whether the line is shown.

        Args:
            what: the activity.
            done: number of units done.
            total: number of units in total; None if unknown.
            unit: name of the counted unit, in the plural.
        """
        with self._lock:
            if self._display is None:
                return False
            (task,) = self._display.task_ids
            if (what, unit) != self._what:  # a new count must not inherit the speed of the last one
                self._what = (what, unit)
                self._display.tasks[0].total = total  # `reset` keeps the last count's total where the new one is unknown
                self._display.reset(task, total=total, completed=done, description=one_line(what), unit=unit)
            else:
                self._display.update(task, total=total, completed=done)
            return True


_LINE = MovingLine()


def moving_line() -> MovingLine:
    """Return the line of this process."""
    return _LINE


def _new_display(line: MovingLine) -> Any:
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn, SpinnerColumn, Task
    from rich.table import Column
    from rich.text import Text

    class Words(ProgressColumn):
        def render(self, task: Task) -> Text:  # Text is shown literally, without interpreting markup
            return Text(task.description)

    class Figures(ProgressColumn):
        def render(self, task: Task) -> Text:
            return Text(figures(task.completed, task.total, task.fields.get("unit", ""), task.speed, line.spent()))

    console = Console(file=sys.stderr, markup=False, emoji=False, highlight=False)
    words, rest = (Column(no_wrap=True, overflow="ellipsis", ratio=ratio) for ratio in (1, None))
    columns = (SpinnerColumn(), Words(words), Figures(rest))
    display = Progress(*columns, console=console, transient=True, refresh_per_second=5, expand=True, redirect_stdout=False, redirect_stderr=False)
    display.add_task("Starting", total=None)
    return display


def figures(done: float, total: float | None, unit: str, speed: float | None, usd: float) -> str:
    """Return the progress as text: amount done of the total, speed, money spent, and the time that the rest will take.

    Args:
        done, total: numbers of units; total is None if unknown.
        unit: name of the unit, in the plural.
        speed: units per second; None if unknown.
        usd: money spent, in USD.
    """
    parts = [f"{done:,.0f}/{total:,.0f} {unit}".rstrip()] if total else []
    parts += [f"{speed:.1f}/s" if speed >= 1 else f"{60 * speed:.1f}/min"] if total and speed else []
    parts += [f"{usd:.2f} USD"] if usd else []
    left = int((total - done) / speed) if total and speed else 0
    parts += [f"{left // 3600}:{left // 60 % 60:02}:{left % 60:02} left"] if left > 0 else []
    return " · ".join(parts)


class LogLine(logging.LogRecord):
    """A log record whose message is always one line."""

    def __init__(self, *args: Any, **named: Any) -> None:
        super().__init__(*args, **named)
        if self.exc_info and self.exc_info[1]:
            self.exc_text = printable_trace(self.exc_info[1])

    def getMessage(self) -> str:  # noqa: N802  # logging's name
        """Return the message with its arguments."""
        return one_line(super().getMessage())


def printable_trace(error: BaseException) -> str:
    """Return an error's traceback without control characters, indented by two spaces."""
    trace = printable("".join(traceback.format_exception(error)))
    return "\n".join(f"  {line}" for line in trace.splitlines())
