"""Where a command's log lines go: all to a file and to the UI, and those that a person must see to the terminal, once."""

import logging
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from core.paths import CODE
from core.storage.store import open_store
from core.terminal import moving_line, show
from flows.terminal.server_access import home

MAX_LOGS = 50
"""Number of log files that are kept; the oldest are removed."""
OURS = tuple(str(CODE / package) for package in ("flows", "studio", "tasks", "blocks", "core"))
"""Folders whose code writes log lines for a person; Prefect's lines are about Prefect itself."""
FORM = "%(asctime)s %(levelname)-7s %(name)s %(message)s"


class ForPeople(logging.Handler):
    """Shows the pipeline's log in the terminal: warnings as separate lines, everything else on the progress line, or as lines if there is none.

    Args:
        quiet: whether only warnings are shown.
    """

    def __init__(self, quiet: bool) -> None:
        super().__init__(logging.INFO)
        self.quiet = quiet
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Show a record of this code's loggers; a repeated warning is shown once."""
        if not record.pathname.startswith(OURS):
            return
        text = record.getMessage()
        if record.levelno >= logging.WARNING:
            if text not in self.warnings:
                self.warnings.append(text)
                show(f"Warning: {text}", error=True)
        elif not self.quiet and not moving_line().say(text):
            show(text, error=True)


@contextmanager
def command_log(flow: str, quiet: bool) -> Generator[ForPeople]:
    """Send the log of a flow to a file, and what a person must see to the terminal, while the block runs. Call it after Prefect was imported.

    Yields:
        The handler, which keeps the warnings.
    """
    file = logging.FileHandler(_new_file(flow), encoding="utf-8")
    file.setFormatter(logging.Formatter(FORM))
    people, root, prefect = ForPeople(quiet), logging.getLogger(), logging.getLogger("prefect")
    others = [handler for handler in root.handlers if type(handler).__name__ != "PrefectConsoleHandler"]
    root.handlers[:] = [*others, file]
    prefect.addHandler(people)
    try:
        with moving_line().shown():
            yield people
    finally:
        prefect.removeHandler(people)
        root.handlers[:] = [*others, logging.NullHandler()]  # drops Prefect's last messages, which help nobody
        file.close()


def _new_file(flow: str) -> Path:
    """Return a new log file: below the data root if that is a local folder, otherwise in Prefect's folder."""
    store = open_store()
    folder = store.local("logs/x").parent if store.is_local else home() / "logs"
    folder.mkdir(parents=True, exist_ok=True)
    for old in sorted(folder.glob("*.log"), key=lambda path: path.stat().st_mtime)[: -(MAX_LOGS - 1)]:
        old.unlink(missing_ok=True)
    return folder / f"{flow}-{time.strftime('%Y%m%dT%H%M%S')}.log"
