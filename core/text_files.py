"""Reads untrusted text files: complete, up to a maximum size, as UTF-8."""

import os
import stat
from pathlib import Path

from core.errors import UnderstudyError, nearest

LARGEST_BYTES = 4_000_000
"""Maximum size of a file in bytes. The largest shipped file has 60,000; a list of 100,000 seeds fits."""

SIBLINGS = 40
"""Maximum number of file names in an error; more would hide the message."""


def read_text(path: Path, error: type[UnderstudyError], remedy: str = "Check the name or create the file.") -> str:
    """Return a file's text without a byte order mark, with every kind of line break as a line feed.

    Args:
        path: the file.
        error: type of the error to raise.
        remedy: sentence that says what to do if the file is missing.

    Raises:
        error: the file is missing, unreadable, not a regular file (a folder, a pipe, a device), too large, not UTF-8, or contains a NUL.
    """
    try:
        # without O_NONBLOCK, opening a pipe that has no writer would block; a device may be endless
        with os.fdopen(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise error(f"{path} is not a file. Give the path of a text file.")
            data = file.read(LARGEST_BYTES + 1)
    except FileNotFoundError as missing:
        names = _siblings(path)
        shown = f"{', '.join(names[:SIBLINGS])}{', …' if len(names) > SIBLINGS else ''}" or "nothing"
        raise error(f"{path} does not exist.{nearest(path.name, names)} Files beside it: {shown}. {remedy}") from missing
    except (OSError, ValueError) as failed:  # ValueError: a NUL in the name
        reason = failed.strerror if isinstance(failed, OSError) else failed
        raise error(f"{path} cannot be read: {reason}. Give the path of a text file that can be read.") from failed
    if len(data) > LARGEST_BYTES:
        raise error(f"{path} has more than {LARGEST_BYTES:,} bytes, which is the limit. Check that it is the right file.")
    try:
        text = data.decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
    except UnicodeDecodeError as broken:
        raise error(f"{path} is not text in UTF-8: byte {broken.start} does not begin a character. Save it as UTF-8.") from broken
    if "\0" in text:
        raise error(f"{path} has a NUL character. Remove it, or check that it is the right file.")
    return text


def _siblings(path: Path) -> list[str]:
    """Return the names of the files with the same suffix in the folder of a missing file."""
    try:
        return sorted(entry.name for entry in path.parent.iterdir() if entry.suffix == path.suffix and entry.is_file() and not entry.name.startswith("."))
    except OSError:
        return []
