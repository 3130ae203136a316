"""Writing and describing result files."""

import hashlib
from pathlib import Path
from typing import Any

from .events import as_json


def write_json(path: Path, content: Any, ensure_ascii: bool = True) -> None:
    """Write a JSON file atomically; a figure that is not finite raises a JobError."""
    part = path.with_name(f"{path.name}.part")
    text = as_json(path.name, content, indent=1, ensure_ascii=ensure_ascii)
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def facts_of(path: Path) -> dict[str, Any]:
    """Return a file's size and checksum."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": sha256}


def named(value: Any) -> Any:
    """Return the last component of a path, since folders must not appear in published results.

    Anything that is not a path is returned unchanged.
    """
    is_path = isinstance(value, Path)
    if isinstance(value, str) and value:
        is_path = Path(value).is_absolute() or Path(value).exists()
    return Path(value).resolve().name if is_path else value
