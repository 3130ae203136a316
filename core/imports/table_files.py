"""Reads the rows of parquet files and of folders that the `datasets` library saved."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from core.errors import TranscriptError
from core.imports import table_reader
from core.imports.foreign_files import opened

TABLES = (".parquet", ".arrow")
_METADATA = ("state.json", "dataset_info.json", "dataset_dict.json")


def is_table_metadata(path: Path) -> bool:
    """Return whether a file is one that the `datasets` library saves next to its tables: their description, or a cache of computed tables."""
    if path.suffix == ".arrow":
        return path.name.startswith("cache-")
    return path.name in _METADATA and (path.name == "dataset_dict.json" or any(path.parent.glob("*.arrow")))


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | TranscriptError]]:
    """Yield each row of a table as its number, from 1 on, and its values without empty cells, or an error if the row cannot be read.

    The memory that this takes is bounded, whatever the table expands to (see `table_reader`).

    Raises:
        TranscriptError: the file is not a parquet or Arrow file, is damaged, or expands to too much.
    """
    number, command = 0, [sys.executable, "-P", table_reader.__file__, path.suffix.lower()]
    with opened(path) as file, subprocess.Popen(command, stdin=file, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as reader:
        try:
            for text in reader.stdout or ():
                if not text.endswith(b"\n"):
                    break
                line = json.loads(text, object_hook=_value)
                if "end" in line:
                    raise _unreadable(number, line["end"])
                number += 1
                yield number, TranscriptError(line["fault"]) if "fault" in line else line["row"]
            if code := reader.wait():
                raise _unreadable(number, f"its reader ended with {f'signal {-code}' if code < 0 else f'code {code}'}")
        finally:
            reader.kill()


def _unreadable(number: int, reason: str) -> TranscriptError:
    return TranscriptError(f"the table cannot be read after row {number} ({reason}). Correct or remove it.")


def _value(found: dict[str, Any]) -> Any:
    return b"" if table_reader.NOT_JSON in found else found
