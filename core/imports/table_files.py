"""Reads the rows of parquet files and of folders that the `datasets` library saved."""

from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

from core.errors import TranscriptError
from core.imports.foreign_files import opened

TABLES = (".parquet", ".arrow")
BATCH = 64
"""Number of rows in memory at a time."""
_METADATA = ("state.json", "dataset_info.json", "dataset_dict.json")


def is_table_metadata(path: Path) -> bool:
    """Return whether a file is one that the `datasets` library saves next to its tables: their description, or a cache of computed tables."""
    if path.suffix == ".arrow":
        return path.name.startswith("cache-")
    return path.name in _METADATA and (path.name == "dataset_dict.json" or any(path.parent.glob("*.arrow")))


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | TranscriptError]]:
    """Yield each row of a table as its number, from 1 on, and its values without empty cells, or an error if the row cannot be read.

    Raises:
        TranscriptError: the file is not a parquet or Arrow file, or is damaged.
    """
    number = 0
    try:
        with opened(path) as file:
            if path.suffix.lower() == ".parquet":
                batches = pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=BATCH)
            else:
                batches = (part for batch in pyarrow.ipc.open_stream(file) for part in _checked(batch))
            for batch in batches:
                for row in _rows(batch):
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError) as broken:  # MemoryError: a damaged length
        reason = next(iter(str(broken).splitlines()), "a length beyond the memory")
        raise TranscriptError(f"the table cannot be read after row {number} ({reason:.120}). Correct or remove it.") from broken


def _rows(batch: pyarrow.RecordBatch) -> Iterator[dict[str, Any] | TranscriptError]:
    """Yield the rows of a batch; a row is an error if Python cannot represent one of its cells, such as a date after the year 9999."""
    try:
        rows = [_plain(row) for row in batch.to_pylist()]
    except Exception as odd:  # the exception depends on the type of the column
        if batch.num_rows > 1:
            for place in range(batch.num_rows):
                yield from _rows(batch.slice(place, 1))
            return
        rows = [TranscriptError(f"a cell that cannot be read ({' '.join(str(odd).split())[:120]}). Correct it, or leave its column out.")]
    yield from rows


def _checked(batch: pyarrow.RecordBatch) -> Iterator[pyarrow.RecordBatch]:
    """Yield the parts of a batch after checking it: wrong lengths and offsets would read any memory. Parquet files are checked when they are decoded."""
    batch.validate(full=True)
    for start in range(0, batch.num_rows, BATCH):
        yield batch.slice(start, BATCH)


def _plain(value: Any) -> Any:
    """Return a cell as JSON data: dates become text, and keys without a value, which a table adds if another row has them, are left out."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, date | time | Decimal):
        return str(value)
    return [_plain(part) for part in value] if isinstance(value, list) else value
