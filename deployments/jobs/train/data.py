"""The conversations of both splits."""

import argparse
from importlib import import_module
from pathlib import Path
from typing import Any, NamedTuple

from ..common.dataset import Messages, as_read, download_files, files_of, look_up_dataset
from ..common.events import JobError, short

SPLITS = ("train", "validation")
WEIGHTED = "slices_folded"
LEARN = ("each_reply_once", "slices", WEIGHTED)
"""Ways of learning: the first and the last read whole conversations."""
CONVERSATIONS = "conversations/"
"""The folder of whole conversations in a dataset on the Hub."""


class Example(NamedTuple):
    """A row as it is learnt, in arrays of 32-bit integers, one number for each token.

    Args:
        labels: -100 is ignored.
        replies: in which reply of its conversation a learnt token is, from 1; elsewhere 0.
        times: how often a learnt token counts; elsewhere 0.
    """

    ids: Any
    labels: Any
    replies: Any
    times: Any


class Row(NamedTuple):
    """A conversation, or a part of one that begins with its system prompt.

    Args:
        times: how often each reply counts; 0 is context without loss.
        before: replies of the conversation that are left out before the part.
    """

    messages: Messages
    times: list[int]
    before: int = 0


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
    folder = "" if arguments.learn == "slices" else CONVERSATIONS
    files = {split: files_of(info, split, folder) for split in SPLITS}
    for split in SPLITS:
        if not files[split]:
            wrong = f"Dataset {arguments.dataset!r} at {info.sha[:12]} has no split {split!r}"
            remedy = f"it needs {split}.parquet or data/{split}-*.parquet"
            if folder:
                wrong = f"{wrong} of whole conversations"
                remedy = f"it needs {folder}{split}.parquet for --learn {arguments.learn}"
            raise JobError(f"{wrong}; {remedy}.")
    return {split: download_files(arguments, info, names) for split, names in files.items()}


def read_split(where: str, paths: list[Path], learn: str) -> list[Row]:
    """Reads the rows of a split, without those that have nothing to learn."""
    parquet, found, columns = import_module("pyarrow.parquet"), list[dict[str, Any]](), []
    for path in paths:
        try:
            columns = parquet.read_schema(path).names
            # Not through load_dataset, which would keep a copy in the home folder.
            if "messages" in columns:
                wanted = [name for name in ("messages", "slices") if name in columns]
                found += parquet.read_table(path, columns=wanted).to_pylist()
        except (OSError, ValueError) as error:
            wrong = f"{where} cannot be read ({short(error)})"
            raise JobError(f"{wrong}; give a parquet file, or a Hub id and its commit.") from None
    if not found:
        wrong = f"{where} needs a column 'messages' with at least one row"
        raise JobError(f"{wrong}; it has the columns {columns}.")
    if learn == WEIGHTED and "slices" not in columns:
        wrong = f"{where} has no column 'slices', which --learn {WEIGHTED} needs"
        raise JobError(f"{wrong}; give the file of whole conversations, or another --learn.")
    rows = [as_row(where, number, row, learn) for number, row in enumerate(found, 1)]
    if learning := [row for row in rows if any(row.times)]:
        return learning
    raise JobError(f"{where} has no reply to learn: all its 'slices' are 0; build it again.")


def as_row(where: str, number: int, found: dict[str, Any], learn: str) -> Row:
    messages, slices = found["messages"] or [], found.get("slices")
    whole = [m for m in messages if isinstance(m, dict)]
    roles = [m.get("role") for m in whole if isinstance(m.get("content"), str)]
    replies = roles.count("assistant")
    if len(roles) != len(messages) or not replies:
        wrong = f"{where} has no assistant reply in row {number}"
        raise JobError(f"{wrong}; each row needs role and content in 'messages'.")
    times = [1] * replies if slices is None or learn == "slices" else slices
    if len(times) != replies or not all(isinstance(n, int) and n >= 0 for n in times):
        wrong = f"{where} has {replies} replies and other 'slices' in row {number}: {times}"
        raise JobError(f"{wrong}; each reply needs one number, 0 or more.")
    if learn != WEIGHTED:
        times = [int(n > 0) for n in times]
    return Row([{"role": m["role"], "content": as_read(m["content"])} for m in messages], times)
