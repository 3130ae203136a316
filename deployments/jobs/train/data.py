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
"""Values of --learn. The first and the last read complete conversations, the other one slices."""
CONVERSATIONS = "conversations/"
"""The folder of complete conversations in a dataset on the Hub."""


class Example(NamedTuple):
    """A tokenized row, in arrays of 32-bit integers with one number for each token.

    Args:
        ids: the tokens.
        labels: the tokens to learn; -100 for tokens without loss.
        replies: for learnt tokens, the number of the reply in its conversation, from 1; else 0.
        times: for learnt tokens, their weight in the loss; else 0.
    """

    ids: Any
    labels: Any
    replies: Any
    times: Any


class Row(NamedTuple):
    """A conversation, or a part of one that starts with its system prompt.

    Args:
        times: each reply's weight in the loss; 0 for context without loss.
        before: number of the conversation's replies that precede this part.
    """

    messages: Messages
    times: list[int]
    before: int = 0


def find_files(arguments: argparse.Namespace) -> dict[str, list[Path]]:
    """Return the parquet files of both splits; those on the Hub are downloaded at one commit."""
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
                wrong = f"{wrong} of complete conversations"
                remedy = f"it needs {folder}{split}.parquet for --learn {arguments.learn}"
            raise JobError(f"{wrong}; {remedy}.")
    return {split: download_files(arguments, info, names) for split, names in files.items()}


def read_split(where: str, paths: list[Path], learn: str) -> list[Row]:
    """Read the rows of a split; leave out those without a reply to learn.

    Args:
        where: name of the split, for error messages.
        learn: one of LEARN.
    """
    parquet, records, columns = import_module("pyarrow.parquet"), list[dict[str, Any]](), []
    for path in paths:
        try:
            columns = parquet.read_schema(path).names
            # Not with load_dataset, which would keep a copy in the home folder.
            if "messages" in columns:
                used = [name for name in ("messages", "slices") if name in columns]
                records += parquet.read_table(path, columns=used).to_pylist()
        except (OSError, ValueError) as error:
            wrong = f"{where} cannot be read ({short(error)})"
            raise JobError(f"{wrong}; give a parquet file, or a Hub id and its commit.") from None
    if not records:
        wrong = f"{where} needs a column 'messages' with at least one row"
        raise JobError(f"{wrong}; it has the columns {columns}.")
    if learn == WEIGHTED and "slices" not in columns:
        wrong = f"{where} has no column 'slices', which --learn {WEIGHTED} needs"
        raise JobError(f"{wrong}; give the file of complete conversations, or another --learn.")
    rows = [as_row(where, number, record, learn) for number, record in enumerate(records, 1)]
    if learning := [row for row in rows if any(row.times)]:
        return learning
    raise JobError(f"{where} has no reply to learn: all its 'slices' are 0; build it again.")


def as_row(where: str, number: int, record: dict[str, Any], learn: str) -> Row:
    messages, slices = record["messages"] or [], record.get("slices")
    dicts = [m for m in messages if isinstance(m, dict)]
    roles = [m.get("role") for m in dicts if isinstance(m.get("content"), str)]
    replies = roles.count("assistant")
    if len(roles) != len(messages) or not replies:
        wrong = f"{where} has no assistant reply in row {number}"
        raise JobError(f"{wrong}; each row needs role and content in 'messages'.")
    times = [1] * replies if slices is None or learn == "slices" else slices
    if len(times) != replies or not all(isinstance(n, int) and n >= 0 for n in times):
        wrong = f"{where} has {replies} replies in row {number}, which do not match its 'slices'"
        raise JobError(f"{wrong} {times}; each reply needs one number, 0 or more.")
    if learn != WEIGHTED:
        times = [int(n > 0) for n in times]
    return Row([{"role": m["role"], "content": as_read(m["content"])} for m in messages], times)
