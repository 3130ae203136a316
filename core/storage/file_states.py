"""States of files, which distinguish one version of a file from another."""

import os
import stat
from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class FileState:
    """The state of a file, which distinguishes its versions.

    Args:
        size: size in bytes.
        modified: time of the last change, in seconds since 1970.
        mark: mark of the version; for a local file its inode and the time of the last change in nanoseconds; empty if the storage reports none.
    """

    size: int
    modified: float
    mark: str

    @property
    def version(self) -> str:
        """The size and the mark as one string."""
        return f"{self.size}-{self.mark}"


def local_state(path: str) -> FileState | None:
    """Return the state of a local file; None for anything else, such as a folder or a link.

    Raises:
        OSError: it does not exist or cannot be read.
    """
    status = os.lstat(path)
    return FileState(status.st_size, status.st_mtime, f"{status.st_ino}-{status.st_mtime_ns}") if stat.S_ISREG(status.st_mode) else None


def object_state(info: dict[str, Any]) -> FileState | None:
    """Return the state of an object from fsspec's information; None for a folder.

    The mark is the `ETag` of S3 and Azure or the `etag` of Google Cloud Storage.
    """
    if info.get("type") != "file":
        return None
    changed = next((info[name] for name in ("LastModified", "last_modified", "mtime", "updated", "created") if info.get(name)), 0.0)
    time = datetime.fromisoformat(changed) if isinstance(changed, str) else changed
    seconds = time.timestamp() if isinstance(time, datetime) else float(time)
    return FileState(int(info["size"]), seconds, str(info.get("ETag") or info.get("etag") or ""))
