"""Unfinished files and folders: each has the name of the process that writes it, and is cleared away when that has ended without doing so."""

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
"""After the last change, before what a process of this machine, or one of another of which nobody here knows whether it lives, has left is removed."""


def mark(kind: Kind = "part") -> str:
    """Return what the names of this process's unfinished files begin with, on whatever machine that shares the folder."""
    return f".{kind}-{os.getpid()}@{socket.gethostname()}@"


def unfinished(path: Path, kind: Kind = "part") -> Path:
    """Return where this process makes a file or folder that it renames in the end."""
    return path.with_name(f"{mark(kind)}{path.name}")


def others(path: Path, kind: Kind = "part") -> list[Path]:
    """Return what other processes have left of the same file or folder, and may still be writing."""
    return [found for found in path.parent.glob(f".{kind}-*@*@{path.name}") if found != unfinished(path, kind)]


def continued(folder: Path) -> Path:
    """Return a folder for this process's output, which has its lock: what another left there is continued, if it has checkpoints, and else removed."""
    part = unfinished(folder)
    shutil.rmtree(part, ignore_errors=True)
    for abandoned in others(folder):
        if not part.exists() and any(abandoned.glob("checkpoint-*")):
            abandoned.rename(part)
        else:
            shutil.rmtree(abandoned, ignore_errors=True)
    return part


def take(part: Path, folder: Path) -> None:
    """Give a finished output its name.

    Raises:
        JobError: it cannot be moved.
    """
    try:
        shutil.rmtree(folder, ignore_errors=True)  # an unfinished one of an older version
        part.rename(folder)
    except OSError as error:
        raise JobError(f"Cannot move {part} to {folder}: {error.strerror}. Move it by hand and run again.") from error


def is_abandoned(path: Path) -> bool:
    """Say whether the process that made an unfinished file ran on this machine and has ended."""
    match = NAME.fullmatch(path.name)
    return bool(match and match["pid"] and match["host"] == socket.gethostname() and not is_running(int(match["pid"])))


def clear_leftovers(root: Path) -> tuple[int, int]:
    """Remove what ended processes have left below a folder, except checkpoints that a training continues from.

    Returns:
        How many files and folders, and their bytes.
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
