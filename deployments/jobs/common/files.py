"""Files of the result: how they are written, and how they are described."""

import hashlib
import json
from pathlib import Path
from typing import Any


def write_json(path: Path, content: Any, ensure_ascii: bool = True) -> None:
    """Writes a file that is there whole or not at all."""
    part = path.with_name(f"{path.name}.part")
    text = json.dumps(content, indent=1, ensure_ascii=ensure_ascii)
    part.write_text(text + "\n", encoding="utf-8")
    part.replace(path)


def facts_of(path: Path) -> dict[str, Any]:
    """A file's size and checksum."""
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": sha256}


def named(value: Any) -> Any:
    """A path without its folders, which concern nobody where the result is published."""
    is_path = isinstance(value, Path)
    if isinstance(value, str) and value:
        is_path = Path(value).is_absolute() or Path(value).exists()
    return Path(value).resolve().name if is_path else value
