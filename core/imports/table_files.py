"""Rows of parquet files and of folders that the `datasets` library saved."""

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
"""Rows that are held at a time."""
_BESIDE = ("state.json", "dataset_info.json", "dataset_dict.json")


def is_beside_table(path: Path) -> bool:
    """Say whether a file is what `save_to_disk` puts beside its tables: their description, or a cache of what was computed from them."""
    if path.suffix == ".arrow":
        return path.name.startswith("cache-")
    return path.name in _BESIDE and (path.name == "dataset_dict.json" or any(path.parent.glob("*.arrow")))


def table_rows(path: Path) -> Iterator[tuple[int, dict[str, Any] | TranscriptError]]:
    """Yield the rows of a table with their numbers, counted from 1, or the error that says why one cannot be read; empty cells are left out.

    Raises:
        TranscriptError: it is no parquet or Arrow file, or is damaged.
    """
    number = 0
    try:
        with opened(path) as file:
            if path.suffix.lower() == ".parquet":
                batches = pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=BATCH)
            else:
                batches = (part for whole in pyarrow.ipc.open_stream(file) for part in _divided(whole))
            for batch in batches:
                for row in _rows(batch):
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError, UnicodeDecodeError, MemoryError) as broken:  # MemoryError: a damaged length
        reason = next(iter(str(broken).splitlines()), "a length beyond the memory")
        raise TranscriptError(f"the table cannot be read after row {number} ({reason:.120}). Correct or remove it.") from broken


def _rows(batch: pyarrow.RecordBatch) -> Iterator[dict[str, Any] | TranscriptError]:
    """Yield the rows of a batch; where a cell has no value in Python, such as a date after the year 9999, that row is the error."""
    try:
        rows = [_plain(row) for row in batch.to_pylist()]
    except Exception as odd:  # each type of column raises kinds of its own
        if batch.num_rows > 1:
            for place in range(batch.num_rows):
                yield from _rows(batch.slice(place, 1))
            return
        rows = [TranscriptError(f"a cell that cannot be read ({' '.join(str(odd).split())[:120]}). Correct it, or leave its column out.")]
    yield from rows


def _divided(batch: pyarrow.RecordBatch) -> Iterator[pyarrow.RecordBatch]:
    batch.validate(full=True)  # what lies about lengths and places leads anywhere in memory; a parquet file is checked as it is decoded
    for start in range(0, batch.num_rows, BATCH):
        yield batch.slice(start, BATCH)


def _plain(value: Any) -> Any:
    """Return a cell as JSON would have it, without the keys without a value, which a table has wherever another row has them; dates become text."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, date | time | Decimal):
        return str(value)
    return [_plain(part) for part in value] if isinstance(value, list) else value
