"""Atomic writes of local files, and the messages of failures."""

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
from core.storage.places import ROOT_VARIABLE


def open_to_append(path: Path) -> FileIO:
    """Open a file for appending lines, and create its folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return FileIO(path, "a")  # unbuffered: written data survives if the process is killed


def append_whole(file: FileIO, data: bytes) -> None:
    """Append data to an unbuffered file, all of it or nothing.

    Raises:
        OSError: it cannot be written, for example because the disk is full.
    """
    if (part := file.write(data)) != len(data):  # a full disk writes only a part
        os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - part)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def holds(path: Path, data: bytes) -> bool:
    """Return whether a file already has this content."""
    try:
        return path.stat().st_size == len(data) and path.read_bytes() == data
    except OSError:
        return False


def replace_file(path: Path, data: bytes) -> None:
    """Write a file atomically: readers see either the old or the complete new content."""
    with part_of(path) as file:
        file.write(data)


def write_page(path: Path, text: str) -> None:
    """Write a page to a file that a user named: atomically, except for a device or a pipe, such as /dev/stdout.

    Raises:
        OSError: the file cannot be written, or its folder does not exist.
    """
    target = path.resolve()  # a link stays a link
    if path.is_file() or (target.parent.is_dir() and not path.exists()):
        replace_file(target, text.encode())
    else:
        path.write_text(text, encoding="utf-8")


@contextmanager
def part_of(path: Path) -> Generator[IO[bytes]]:
    """Open a temporary file in the same folder, which replaces the file at the path if the block ends without an error."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=mark())
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        Path(temporary).chmod(0o644)  # mkstemp sets 0600, which other workers on a shared folder could not read
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def failure(verb: str, what: str, error: OSError) -> StoreError:
    """Return an error that says what failed, why, and what to do.

    Args:
        verb: the failed action, such as `write`.
        what: its file or folder.
        error: the system's error.
    """
    if error.errno in (errno.EISDIR, errno.ELOOP):
        kind = "a folder" if error.errno == errno.EISDIR else "a link that leads to itself"
        return DamagedError(f"{what} is {kind}, where a file is expected. Move it away; then restore the file, or run the command that makes it.")
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        remedy = "The disk is full. Free some space and run the same command again: what was already made is kept."
    elif isinstance(error, FileNotFoundError):
        remedy = "Check the name, or run the command that makes it."
    elif error.errno in (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST):
        remedy = f"The data root cannot be {'read' if verb == 'read' else 'written'}. Set {ROOT_VARIABLE} to a folder that can."
    else:
        remedy = "Run the same command again: what was already made is kept."
    return StoreError(f"Cannot {verb} {what}: {error.strerror or error}. {remedy}")
