"""What tells one version of a file from another."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any


@dataclass(frozen=True)
class FileState:
    """What tells one version of a file from another.

    Args:
        size: bytes; modified: seconds since 1970.
        mark: of the version; of a local file, its inode and the time of the last change in nanoseconds; empty where the storage tells none.
    """

    size: int
    modified: float
    mark: str

    @property
    def version(self) -> str:
        """One word for the size and the mark."""
        return f"{self.size}-{self.mark}"


def object_state(info: dict[str, Any]) -> FileState:
    """Return the state of an object as fsspec tells it; the mark is an `ETag` on S3 and Azure, an `etag` on Google Cloud Storage."""
    changed = next((info[name] for name in ("LastModified", "last_modified", "mtime", "updated", "created") if info.get(name)), 0.0)
    when = datetime.fromisoformat(changed) if isinstance(changed, str) else changed
    seconds = when.timestamp() if isinstance(when, datetime) else float(when)
    return FileState(int(info["size"]), seconds, str(info.get("ETag") or info.get("etag") or ""))
