"""The conversations of both splits."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.dataset import Messages, as_read, download_files, files_of, look_up_dataset
from ..common.events import JobError, short

SPLITS = ("train", "validation")
Example = tuple[Any, Any]
"""Token ids and labels as arrays of 32-bit integers; the label -100 is ignored."""


def find_files(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """Returns the parquet files of both splits; those on the Hub are downloaded at one commit."""
    if not arguments.dataset:
        for split in SPLITS:
            if not getattr(arguments, split).is_file():
                wrong = f"Dataset file {str(getattr(arguments, split))!r} does not exist"
                raise JobError(f"{wrong}; give a parquet file with --{split}.")
        return {split: [getattr(arguments, split)] for split in SPLITS}
    info = look_up_dataset(arguments)
    arguments.dataset_revision = info.sha
    files = {split: files_of(info, split) for split in SPLITS}
    for split in SPLITS:
        if not files[split]:
            wrong = f"Dataset {arguments.dataset!r} at {info.sha[:12]} has no split {split!r}"
            raise JobError(f"{wrong}; it needs {split}.parquet or data/{split}-*.parquet.")
    return {split: download_files(arguments, info, names) for split, names in files.items()}


def read_split(where: str, paths: list[Path]) -> list[Messages]:
    parquet, found, columns = import_module("pyarrow.parquet"), [], []
    for path in paths:
        try:
            columns = parquet.read_schema(path).names
            # Not through load_dataset, which would keep a copy in the home folder.
            if "messages" in columns:
                found += parquet.read_table(path, columns=["messages"])["messages"].to_pylist()
        except (OSError, ValueError) as error:
            wrong = f"{where} cannot be read ({short(error)})"
            raise JobError(f"{wrong}; give a parquet file, or a Hub id and its commit.") from None
    if not found:
        wrong = f"{where} needs a column 'messages' with at least one row"
        raise JobError(f"{wrong}; it has the columns {columns}.")
    for number, messages in enumerate(found, 1):
        whole = [m for m in messages or [] if isinstance(m, dict)]
        roles = [m.get("role") for m in whole if isinstance(m.get("content"), str)]
        if len(roles) != len(messages or []) or "assistant" not in roles:
            wrong = f"{where} has no assistant reply in row {number}"
            raise JobError(f"{wrong}; each row needs role and content in 'messages'.")
    return [
        [{"role": m["role"], "content": as_read(m["content"])} for m in messages]
        for messages in found
    ]
