"""Writes the rows of a table as lines of JSON: `python -P table_reader.py .parquet < table.parquet`.

It is a program of its own, with a limit on its memory: a small table can expand to any size, and a damaged one can end the process that decodes it.
A line has the key `row`, `fault` (this row cannot be read) or `end` (nor can those after it).
"""

import contextlib
import json
import os
import resource
import sys
from collections.abc import Iterator
from datetime import date, time
from decimal import Decimal
from typing import Any, BinaryIO

import pyarrow
import pyarrow.ipc
import pyarrow.parquet

BATCH = 64
"""Number of rows that are decoded at a time."""
MAX_MEMORY = 4 * 2**30
"""Largest size in bytes of this process."""
MAX_ROW = 16 * 2**20
"""Largest number of characters of a row as JSON."""
MAX_EXPANSION, MAX_SMALL = 40, 64 * 2**20
"""A table may expand to this many times its size in bytes, and a small one to `MAX_SMALL`. Parquet files of conversations expand 3 to 20 times."""
ROW_COST = 400
"""Bytes that a row counts at least: a table of nothing can have any number of rows."""
NOT_JSON = "\0not JSON"
"""The only key of an object that stands for a value without a form in JSON, such as bytes."""


def lines(file: BinaryIO, ending: str) -> Iterator[dict[str, Any]]:
    """Yield the lines for a table."""
    remaining = max(MAX_SMALL, MAX_EXPANSION * os.fstat(file.fileno()).st_size)
    allowed = remaining
    try:
        for batch in _batches(file, ending):
            for place in range(batch.num_rows):
                line, size = _line(batch.slice(place, 1))
                remaining -= size
                if remaining < 0:
                    yield {"end": f"it expands to more than {allowed / 2**20:,.0f} MiB"}
                    return
                yield line
    except MemoryError:
        yield {"end": f"it needs more than {MAX_MEMORY / 2**30:.0f} GiB of memory, or a length in it is wrong"}
    except Exception as broken:  # a damaged file can raise anything
        yield {"end": next(iter(str(broken).splitlines()), type(broken).__name__)[:120]}


def _batches(file: BinaryIO, ending: str) -> Iterator[Any]:
    if ending == ".parquet":
        yield from pyarrow.parquet.ParquetFile(file).iter_batches(batch_size=BATCH, use_threads=False)
        return
    for batch in pyarrow.ipc.open_stream(file):
        batch.validate(full=True)  # wrong lengths and offsets would read any memory; parquet files are checked when they are decoded
        yield batch


def _line(row: Any) -> tuple[dict[str, Any], int]:
    """Return the line for a row, and the size of its values in bytes."""
    try:
        line = {"row": _plain(row.to_pylist()[0])}
        size = len(json.dumps(line, default=str))
    except MemoryError:
        return {"fault": "a row that does not fit into the memory. Remove it."}, MAX_ROW
    except Exception as odd:  # the exception depends on the type of the column
        return {"fault": f"a cell that cannot be read ({' '.join(str(odd).split())[:120]}). Correct it, or leave its column out."}, ROW_COST
    if size > MAX_ROW:
        return {"fault": f"a row of more than {MAX_ROW / 2**20:.0f} MiB. Remove it."}, size
    return line, max(size, ROW_COST)


def _plain(value: Any) -> Any:
    """Return a cell as JSON data: dates become text, and keys without a value, which a table adds if another row has them, are left out."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items() if part is not None}
    if isinstance(value, date | time | Decimal):
        return str(value)
    if isinstance(value, list):
        return [_plain(part) for part in value]
    return value if value is None or isinstance(value, str | int | float) else {NOT_JSON: type(value).__name__}


def main(ending: str) -> None:
    """Write the lines for the table that is the standard input."""
    pyarrow.set_memory_pool(pyarrow.system_memory_pool())  # the others reserve memory that they do not use
    with contextlib.suppress(ValueError, OSError):  # a lower limit is in force, or the system has none
        resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with os.fdopen(os.dup(0), "rb") as file:
        for line in lines(file, ending):
            sys.stdout.write(json.dumps(line) + "\n")


if __name__ == "__main__":
    main(sys.argv[1])
