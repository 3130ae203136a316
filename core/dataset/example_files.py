"""Writes training examples as parquet files while transcripts are cut, with the memory of one transcript. The same input gives the same bytes.

A dataset has two configurations here: `default` has the slices; `conversations` has each conversation once.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow
import pyarrow.parquet

from core.dataset.slicing import Conversation, Example, SliceReport, Tokenizer, cut
from core.errors import DatasetError
from core.records import Transcript
from core.settings.pipeline import Slicing
from core.storage.store import Store

SPLITS = ("train", "validation")
FLUSH = 16_000_000
"""Characters of examples that are buffered before they are written, about as many as the examples of a transcript of 100 exchanges."""

CONFIGURATIONS = {"default": "", "conversations": "conversations/"}
"""By configuration, its folder, both in the repository and below the dataset's folder."""
CONVERSATION_ROWS = "conversations/rows.jsonl"
"""File with the tokens of each conversation's parts, from which a training is estimated; it is not published."""

_MESSAGE = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
_MESSAGES = {"messages": pyarrow.list_(_MESSAGE)}
_TAUGHT = {"slices": pyarrow.list_(pyarrow.int32())}
ORIGIN = {"transcript_id": pyarrow.string(), "slice_point": pyarrow.int32(), "first_exchange": pyarrow.int32(), "tokens": pyarrow.int32()}
"""Columns that identify the source of an example, with their types."""
CONVERSATION_ORIGIN = {"transcript_id": pyarrow.string(), "round": pyarrow.int32(), "tokens": pyarrow.int32()}
CONVERSATION_FACTS = (*CONVERSATION_ORIGIN, "frame", "sizes", "slices")
_COLUMNS = {"default": (_MESSAGES, ORIGIN), "conversations": (_MESSAGES | _TAUGHT, CONVERSATION_ORIGIN)}


def split_files() -> list[str]:
    """Return the names of the parquet files that are published with the card."""
    return [f"{folder}{split}.parquet" for folder in CONFIGURATIONS.values() for split in SPLITS]


class ExampleFile:
    """A parquet file that is being written.

    Args:
        file: the open file to write to.
        configuration: the configuration that sets the columns.
        provenance: whether to add the columns that identify a row's source.
    """

    def __init__(self, file: IO[bytes], configuration: str, provenance: bool) -> None:
        """Start the file."""
        columns, origin = _COLUMNS[configuration]
        self._schema = pyarrow.schema([*columns.items(), *(origin.items() if provenance else ())])
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Example | Conversation] = []
        self._characters = 0

    def add(self, row: Example | Conversation) -> None:
        """Add a row."""
        self._rows.append(row)
        self._characters += sum(len(message["content"]) for message in row.messages)
        if self._characters >= FLUSH:
            self._flush()

    def close(self) -> None:
        """Write the buffered rows and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = {name: [getattr(row, name) for row in self._rows] for name in self._schema.names}
            self._writer.write_table(pyarrow.table(columns, schema=self._schema))
        self._rows, self._characters = [], 0


@dataclass
class Written:
    """Counts of what was written.

    Args:
        tokens: by split, the tokens of each example.
        transcripts: by split, the number of transcripts with at least one example.
        conversations: by split, the number of conversations.
        replies: by split, the number of replies that are trained on.
        rounds: by round of improvement, the number of conversations.
    """

    report: SliceReport = field(default_factory=SliceReport)
    tokens: dict[str, list[int]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    transcripts: Counter[str] = field(default_factory=Counter)
    conversations: Counter[str] = field(default_factory=Counter)
    replies: Counter[str] = field(default_factory=Counter)
    rounds: Counter[int] = field(default_factory=Counter)


def write_examples(
    store: Store,
    folder: str,
    transcripts: Iterable[Transcript],
    system_of: Callable[[Transcript], str],
    slicing: Slicing,
    tokenizer: Tokenizer,
    kept_apart: set[str],
    provenance: bool,
) -> Written:
    """Cut transcripts into examples and write the files of both configurations, and `rows.jsonl`, which names the source of each row.

    Args:
        folder: folder of the dataset, below the data root.
        transcripts: read once, one at a time.
        system_of: returns the short system prompt of a transcript's examples.
        kept_apart: ids of the transcripts for validation.
        provenance: whether the parquet files identify the source of each row.

    Raises:
        DatasetError: one side of the split has no example. Nothing is written in this case.
    """
    written = Written()
    with ExitStack() as stack:
        rows = stack.enter_context(store.writing(f"{folder}/rows.jsonl"))
        conversation_rows = stack.enter_context(store.writing(f"{folder}/{CONVERSATION_ROWS}"))
        files = {
            (name, split): ExampleFile(stack.enter_context(store.writing(f"{folder}/{place}{split}.parquet")), name, provenance)
            for name, place in CONFIGURATIONS.items()
            for split in SPLITS
        }
        for conversation, examples in cut(transcripts, system_of, slicing, tokenizer, written.report):
            split = SPLITS[conversation.transcript_id in kept_apart]
            files["conversations", split].add(conversation)
            conversation_rows.write(_line({"split": split, "row": written.conversations[split], **_facts(conversation, CONVERSATION_FACTS)}))
            for example in examples:
                files["default", split].add(example)
                rows.write(_line({"split": split, "row": len(written.tokens[split]), **_facts(example, ORIGIN)}))
                written.tokens[split].append(example.tokens)
            written.transcripts[split] += bool(examples)
            written.conversations[split] += 1
            written.replies[split] += sum(map(bool, conversation.slices))
            written.rounds[conversation.round] += 1
        for file in files.values():
            file.close()
        _check_sides(written)
    return written


def _facts(row: Example | Conversation, names: Iterable[str]) -> dict[str, Any]:
    return {name: getattr(row, name) for name in names}


def _line(entry: dict[str, Any]) -> bytes:
    return (json.dumps(entry, ensure_ascii=False) + "\n").encode()


def _check_sides(written: Written) -> None:
    for split, tokens in written.tokens.items():
        if not tokens:
            raise DatasetError(
                f"No {split} example: {len(written.report.too_short)} transcripts are shorter than dataset.slicing.first and {len(written.report.skipped)} "
                "slices do not fit dataset.slicing.max_tokens. Lower the first or raise the second."
            )


def statistics(tokens: Sequence[int], training_length: int | None) -> dict[str, Any]:
    """Return statistics on the lengths of examples: minimum, mean, maximum, a histogram by powers of two, and the number that training will cut.

    Args:
        tokens: tokens of each example.
        training_length: tokens after which the training cuts an example; None if it does not.
    """
    buckets = Counter(1 << max(0, count - 1).bit_length() for count in tokens)
    return {
        "examples": len(tokens),
        "min": min(tokens, default=0),
        "mean": round(sum(tokens) / len(tokens)) if tokens else 0,
        "max": max(tokens, default=0),
        "histogram": {str(bound): buckets[bound] for bound in sorted(buckets)},
        "training_length": training_length,
        "longer": sum(count > training_length for count in tokens) if training_length else 0,
    }
