"""Training examples as parquet, written while they are cut: the memory of one transcript, and the same bytes for the same input."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import IO, Any

import pyarrow
import pyarrow.parquet

from core.dataset.slicing import Example, SliceReport, Tokenizer, slices
from core.errors import DatasetError
from core.records import Transcript
from core.settings.pipeline import Slicing
from core.storage.store import Store

SPLITS = ("train", "validation")
FLUSH = 16_000_000
"""Characters of examples after which they are written; a transcript of 100 exchanges makes examples of about as many."""

_MESSAGE = pyarrow.struct([("role", pyarrow.string()), ("content", pyarrow.string())])
MESSAGES = pyarrow.schema([("messages", pyarrow.list_(_MESSAGE))])
ORIGIN = {"transcript_id": pyarrow.string(), "slice_point": pyarrow.int32(), "first_exchange": pyarrow.int32(), "tokens": pyarrow.int32()}
"""Columns that say where an example comes from."""
PROVENANCE = pyarrow.unify_schemas([MESSAGES, pyarrow.schema(list(ORIGIN.items()))])


class ExampleFile:
    """A parquet file of examples that is being written.

    Args:
        file: to write to.
        provenance: whether the columns tell where an example comes from.
    """

    def __init__(self, file: IO[bytes], provenance: bool) -> None:
        """Begin the file."""
        self._schema = PROVENANCE if provenance else MESSAGES
        self._writer = pyarrow.parquet.ParquetWriter(file, self._schema, compression="zstd")
        self._rows: list[Example] = []
        self._characters = 0

    def add(self, example: Example) -> None:
        """Add an example."""
        self._rows.append(example)
        self._characters += sum(len(message["content"]) for message in example.messages)
        if self._characters >= FLUSH:
            self._flush()

    def close(self) -> None:
        """Write what is left, and the end of the file."""
        self._flush()
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            columns = {name: [getattr(row, name) for row in self._rows] for name in self._schema.names}
            self._writer.write_table(pyarrow.table(columns, schema=self._schema))
        self._rows, self._characters = [], 0


@dataclass
class Written:
    """What was written.

    Args:
        tokens: of each example, by split.
        transcripts: by split, how many have an example.
    """

    report: SliceReport = field(default_factory=SliceReport)
    tokens: dict[str, list[int]] = field(default_factory=lambda: {split: [] for split in SPLITS})
    transcripts: Counter[str] = field(default_factory=Counter)


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
    """Cut transcripts into examples and write `train.parquet`, `validation.parquet` and `rows.jsonl`, which tells where each row comes from.

    Args:
        folder: below the data root.
        transcripts: read once, one after the other.
        system_of: returns the short system prompt that is trained in with a transcript.
        kept_apart: ids of the transcripts that are for validation.

    Raises:
        DatasetError: one side of the split has no example; nothing is written then.
    """
    written = Written()
    with ExitStack() as stack:
        rows = stack.enter_context(store.writing(f"{folder}/rows.jsonl"))
        files = {split: ExampleFile(stack.enter_context(store.writing(f"{folder}/{split}.parquet")), provenance) for split in SPLITS}
        last = ""
        for example in slices(transcripts, system_of, slicing, tokenizer, written.report):
            split = SPLITS[example.transcript_id in kept_apart]
            files[split].add(example)
            origin = {name: getattr(example, name) for name in ORIGIN}
            entry = {"split": split, "row": len(written.tokens[split]), **origin}
            rows.write((json.dumps(entry, ensure_ascii=False) + "\n").encode())
            written.tokens[split].append(example.tokens)
            written.transcripts[split] += example.transcript_id != last
            last = example.transcript_id
        for file in files.values():
            file.close()
        _check_sides(written)
    return written


def _check_sides(written: Written) -> None:
    for split, tokens in written.tokens.items():
        if not tokens:
            raise DatasetError(
                f"No {split} example: {len(written.report.too_short)} transcripts are shorter than dataset.slicing.first and {len(written.report.skipped)} "
                "slices do not fit dataset.slicing.max_tokens. Lower the one or raise the other."
            )


def statistics(tokens: Sequence[int], training_length: int | None) -> dict[str, Any]:
    """Return how long examples are: least, mean, most, a histogram by powers of two, and how many are longer than what is trained on.

    Args:
        training_length: tokens after which the training cuts an example; none where it does not.
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
