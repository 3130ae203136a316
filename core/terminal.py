"""Text on a terminal and in a log: nothing that a stranger wrote is obeyed there, or taken for a line of ours.

`show` and `show_text` are the only places that print; log records and errors are cleaned when they are made. So a forgotten place is safe.
"""

import logging
import re
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

SEQUENCE = re.compile(
    r"\x1b\[[0-?]*[ -/]*[@-~]"  # colours, movements, erasing
    r"|\x9b[0-?]*[ -/]*[@-~]"
    r"|(?:\x1b[\]PX^_]|[\x90\x98\x9d-\x9f])[^\x07\x1b\x9c\n]*(?:\x07|\x1b\\|\x9c)"  # titles, links, the clipboard
    r"|\x1b[ -/]*[0-Z\\`-~]"
)
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Controls but for tab and line feed, marks that turn the direction of writing, halves of characters."""


@dataclass(frozen=True)
class Answer:
    """What a command has to say.

    Args:
        text: for people.
        data: the same for scripts (`--json`): plain data, dataclasses and models.
        code: the exit code.
    """

    text: str
    data: Mapping[str, Any]
    code: int = 0


def printable(text: str) -> str:
    """Return a text without control sequences and control characters; its lines stay."""
    return CONTROLS.sub("", SEQUENCE.sub("", text))


def one_line(text: str) -> str:
    """Return a text as one line that a terminal obeys in nothing, and that cannot be taken for two lines of a log."""
    lines = text.splitlines()
    return " ".join(filter(None, (printable(line).strip() for line in lines))) if len(lines) > 1 else printable("".join(lines))


def show(*lines: object, error: bool = False) -> None:
    """Print lines where results go, or where errors go; each stays one line, whatever stands in it."""
    for line in lines:
        show_text(one_line(str(line)), error)


def show_text(text: str, error: bool = False, end: str = "\n") -> None:
    """Print a text that may have lines: a report, a table, a model's reply."""
    print(printable(text), file=sys.stderr if error else sys.stdout, end=end, flush=True)


def show_error(error: object) -> None:
    """Print what is wrong where errors go; of several lines the others are set in, so that none of them looks like one of ours."""
    what, *more = str(error).splitlines() or [""]
    show(f"Error: {what}", *(f"  {line}" for line in more), error=True)


class LogLine(logging.LogRecord):
    """A record whose message is one line, whatever stands in it."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        if self.exc_info and self.exc_info[1]:
            self.exc_text = printable_trace(self.exc_info[1])

    def getMessage(self) -> str:  # noqa: N802  # logging's name
        """Return the message with its arguments."""
        return one_line(super().getMessage())


def printable_trace(error: BaseException) -> str:
    """Return an error's traceback, set in."""
    told = printable("".join(traceback.format_exception(error)))
    return "\n".join(f"  {line}" for line in told.splitlines())
