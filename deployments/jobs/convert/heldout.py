"""Held-out conversations, and which of their tokens count towards the loss."""

import argparse
import random
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.dataset import Messages, as_read, download_files, files_of, look_up_dataset
from ..common.events import JobError, short
from .texts import tokenize

Example = tuple[list[int], list[bool]]
"""Token ids, and which of them count towards the loss."""


def read_heldout(arguments: argparse.Namespace) -> tuple[str, list[Messages]]:
    """Return the source of the held-out conversations, and an evenly spread sample of them."""
    if not (arguments.heldout or arguments.dataset):
        return "own replies", []
    where, rows = read_split(arguments, "validation", arguments.heldout)
    count = arguments.heldout_examples
    return where, rows[:: max(1, len(rows) // count)][:count]


def read_calibration(arguments: argparse.Namespace) -> list[Messages]:
    """Return the training conversations in random order."""
    _, rows = read_split(arguments, "train", arguments.calibration)
    return random.Random(0).sample(rows, len(rows))


def read_split(
    arguments: argparse.Namespace, split: str, path: Path | None
) -> tuple[str, list[Messages]]:
    """Return the source and the conversations of a file, or of the dataset's split if no path."""
    paths, where, option = [path], path and path.name, "--heldout"
    option = option if split == "validation" else "--calibration"
    if not path:
        info = look_up_dataset(arguments)
        where = f"{arguments.dataset}@{info.sha[:12]}, {split}"
        names = files_of(info, split, arguments.dataset_folder)
        paths = download_files(arguments, info, names)
    try:
        # Not with the datasets package, which would keep a copy in the home folder.
        parquet = import_module("pyarrow.parquet")
        tables = [parquet.read_table(path, columns=["messages"]) for path in paths]
        chats = [
            [{"role": str(m["role"]), "content": as_read(m["content"])} for m in row]
            for table in tables
            for row in table.column("messages").to_pylist()
        ]
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        wrong = f"{path or where} cannot be read ({short(error)})"
        remedy = "give a parquet file whose column 'messages' has role and content"
        raise JobError(f"{wrong}; {remedy} with {option} or --dataset.") from None
    if not all(any(m["role"] == "assistant" for m in chat) for chat in chats) or not chats:
        wrong = f"{path or where} has no rows, or one without an assistant reply"
        raise JobError(f"{wrong}; give others with {option} or --dataset.")
    return str(where), chats


def encode(
    tokenizer: Any, chats: list[Messages], stop: str, limit: int
) -> tuple[str, list[Example], int]:
    """Tokenize conversations and mark the tokens that count towards the loss.

    These are the assistant's replies and their stop tokens; all tokens if no reply is found.

    Args:
        stop: text of the stop token.
        limit: tokens to which each conversation is cut.

    Returns:
        What counts, in words; the examples; the length of the longest, in tokens, before cutting.
    """
    examples, longest = list[Example](), 0
    for chat in chats:
        encoded, spans, at = tokenize(tokenizer, chat, prompt=False), list[tuple[int, int]](), 0
        for message in chat:
            is_reply = message["role"] == "assistant"
            text = message["content"] + (stop if is_reply else "")
            start = encoded.text.find(text, at)
            at = max(at, start + len(text))
            spans += [(start, at)] if is_reply and start >= 0 else []
        counts = [
            any(start < end and first < end and start < last for first, last in spans)
            for start, end in encoded.places[:limit]
        ]
        examples.append((encoded.ids[:limit], counts))
        longest = max(longest, len(encoded.ids))
    counted = [(ids, counts) for ids, counts in examples if any(counts[1:])]
    if counted:
        return "assistant replies", counted, longest
    return "all tokens", [(ids, [True] * len(ids)) for ids, _ in examples], longest
