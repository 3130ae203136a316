"""Files of this machine that are written whole or not at all, the names that they may have, and what is said when that fails."""

import errno
import os
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import IO

from core.errors import DamagedError, StoreError
from core.storage.leftovers import mark

ROOT_VARIABLE = "UNDERSTUDY_DATA"
LONGEST_PART, LONGEST_NAME = 255, 1024
"""Bytes of a name between two slashes, and of the whole: what file systems and S3 keys allow."""


def wrong_in(name: str) -> str | None:
    """Say why a file cannot have this name, on any file system; nothing where it can."""
    if not name.isprintable() or "\\" in name:
        return "it has a backslash or a character that is not printed"
    parts = name.split("/")
    if not {"", ".", ".."}.isdisjoint(parts):
        return "it begins or ends with a slash, or a part of it is empty, `.` or `..`"
    if len(name.encode()) > LONGEST_NAME or any(len(part.encode()) > LONGEST_PART for part in parts):
        return f"it is longer than {LONGEST_NAME} bytes, or a part of it than {LONGEST_PART}"
    return None


def open_to_append(path: Path) -> FileIO:
    """Open a file to which lines are added."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileIO(path, "a")  # unbuffered: what was written survives a kill


def holds(path: Path, data: bytes) -> bool:
    """Say whether a file has this content already."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def replace_file(path: Path, data: bytes) -> None:
    """Write a file whole or not at all."""
    with part_of(path) as file:
        file.write(data)


@contextmanager
def part_of(path: Path) -> Generator[IO[bytes]]:
    """Open a file beside the path that takes its place when the block ends well."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=mark())
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp gives 0600, which other workers on a shared folder could not read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def failure(verb: str, what: str, error: OSError) -> StoreError:
    """Return an error that says what failed, why, and what to do.

    Args:
        verb: what was to be done, such as `write`; what: to which file or folder.
    """
    if error.errno in (errno.EISDIR, errno.ELOOP):
        stands = "a folder" if error.errno == errno.EISDIR else "a link that leads to itself"
        return DamagedError(f"{what} is {stands}, where a file is due. Move it away, to have the file made again or to put it back.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "The disk is full. Free some space and run the same command again: what was already made is kept."
    elif isinstance(error, FileNotFoundError):
        remedy = "Check the name, or run the command that makes it."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        remedy = f"The data root cannot be {'read' if verb == 'read' else 'written'}. Set {ROOT_VARIABLE} to a folder that can."
    else:
        remedy = "Run the same command again: what was already made is kept."
    return StoreError(f"Cannot {verb} {what}: {error.strerror or error}. {remedy}")
