"""Unfinished files and folders. The name of each contains the process that writes it, so it can be removed if that process ended without finishing."""

import os
import re
import shutil
import socket
import time
from contextlib import suppress
from pathlib import Path
from typing import Literal

from core.errors import JobError
from core.processes import is_running

Kind = Literal["part", "told", "fetched"]

NAME = re.compile(r"\.(?:part|told|fetched)-(?:(?P<pid>\d+)@(?P<host>[^@]+)@)?.*")

HOURS, HOURS_ELSEWHERE = 1, 24
"""Hours since the last change after which leftovers are removed: those of ended processes of this machine, and those of other machines, whose processes
may still be running."""


def mark(kind: Kind = "part") -> str:
    """Return the prefix of the names of this process's unfinished files, which is unique among all machines that share the folder."""
    return f".{kind}-{os.getpid()}@{socket.gethostname()}@"


def unfinished(path: Path, kind: Kind = "part") -> Path:
    """Return the path at which this process writes a file or folder before it is renamed to `path`."""
    return path.with_name(f"{mark(kind)}{path.name}")


def others(path: Path, kind: Kind = "part") -> list[Path]:
    """Return the unfinished versions of a file or folder by other processes, which may still be writing them."""
    return [other for other in path.parent.glob(f".{kind}-*@*@{path.name}") if other != unfinished(path, kind)]


def continued(folder: Path) -> Path:
    """Return the unfinished folder for this process's output. The caller must hold the folder's lock.

    An unfinished folder of another process is taken over if it has checkpoints, and removed otherwise.
    """
    part = unfinished(folder)
    shutil.rmtree(part, ignore_errors=True)
    for abandoned in others(folder):
        if not part.exists() and any(abandoned.glob("checkpoint-*")):
            abandoned.rename(part)
        else:
            shutil.rmtree(abandoned, ignore_errors=True)
    return part


def take(part: Path, folder: Path) -> None:
    """Rename a finished output to its final name.

    Raises:
        JobError: it cannot be moved.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)  # older versions wrote unfinished output here
        part.rename(folder)
    except OSError as error:
        raise JobError(f"Cannot move {part} to {folder}: {error.strerror}. Move it by hand and run again.") from error


def is_abandoned(path: Path) -> bool:
    """Return whether the process that wrote an unfinished file ran on this machine and has ended."""
    match = NAME.fullmatch(path.name)
    return bool(match and match["pid"] and match["host"] == socket.gethostname() and not is_running(int(match["pid"])))


def clear_leftovers(root: Path) -> tuple[int, int]:
    """Remove the leftovers of ended processes below a folder, except checkpoints from which a training can continue.

    Returns:
        The number of removed files and folders, and their size in bytes.
    """
    count = size = 0
    for folder, folders, files in os.walk(root):
        for name in [name for name in (*folders, *files) if NAME.fullmatch(name)]:
            path = Path(folder, name)
            if name in folders:
                folders.remove(name)
            with suppress(OSError):
                inside = [path, *path.rglob("*")]
                idle = time.time() - max(item.lstat().st_mtime for item in inside)
                if idle < 3600 * (HOURS if is_abandoned(path) else HOURS_ELSEWHERE) or _lives_here(path) or any(path.glob("checkpoint-*")):
                    continue
                bytes_inside = sum(item.lstat().st_size for item in inside if item.is_file())
                shutil.rmtree(path) if path.is_dir() else path.unlink()
                count, size = count + 1, size + bytes_inside
    return count, size


def _lives_here(path: Path) -> bool:
    match = NAME.fullmatch(path.name)
    return bool(match and match["pid"] and match["host"] == socket.gethostname() and is_running(int(match["pid"])))
