"""Training examples on disk are split by transcript, reproducible and complete."""

import json

import pyarrow.parquet
import pytest

from core.dataset.build import FILES
from core.dataset.example_files import statistics, write_examples
from core.dataset.slicing import SliceReport, Tokenizer, slices
from core.errors import DatasetError
from core.records import Exchange, Transcript
from core.settings.pipeline import Slicing
from core.storage.store import Store

SLICING = Slicing(first=3, gap=(2, 5), max_tokens=500)
WORDS = Tokenizer("words", lambda text: len(text.split()))


def talk(name, exchanges):
    return Transcript(id=name, exchanges=[Exchange(exchange_number=n, user=f"Grüße {name} {n} 🙂", assistant="ja " * 40) for n in range(1, exchanges + 1)])


TALKS = [talk("a", 3), talk("b", 12), talk("c", 30), talk("d", 2), talk("e", 7)]


def write(folder, talks=TALKS, apart=frozenset({"b", "d"}), provenance=False):
    return write_examples(Store(str(folder)), "x", iter(talks), lambda _: "be kind", SLICING, WORDS, set(apart), provenance)


def rows(folder, split):
    return pyarrow.parquet.read_table(folder / f"x/{split}.parquet").to_pylist()


def test_the_written_examples_are_the_slices_split_by_transcript(tmp_path):
    written = write(tmp_path)
    expected = list(slices(TALKS, lambda _: "be kind", SLICING, WORDS, SliceReport()))
    for split, there in (("train", {"a", "c", "e"}), ("validation", {"b"})):
        assert rows(tmp_path, split) == [{"messages": item.messages} for item in expected if item.transcript_id in there]
        assert written.tokens[split] == [item.tokens for item in expected if item.transcript_id in there]
    assert written.transcripts == {"train": 3, "validation": 1}
    assert written.report.too_short == ["d"]
    origins = [json.loads(line) for line in (tmp_path / "x/rows.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(item["transcript_id"], item["slice_point"]) for item in origins] == [(item.transcript_id, item.slice_point) for item in expected]
    for item in origins:
        message = rows(tmp_path, item["split"])[item["row"]]["messages"][1]["content"]
        assert message == f"Grüße {item['transcript_id']} {item['first_exchange']} 🙂"


def conversations(folder, split):
    return {row["transcript_id"]: row for row in pyarrow.parquet.read_table(folder / f"x/conversations/{split}.parquet").to_pylist()}


def test_each_conversation_is_written_once_with_the_slice_count_of_each_reply(tmp_path):
    write(tmp_path, provenance=True)
    rows_of = {split: conversations(tmp_path, split) for split in ("train", "validation")}
    assert {split: sorted(found) for split, found in rows_of.items()} == {"train": ["a", "c", "e"], "validation": ["b"]}
    sliced = list(slices(TALKS, lambda _: "be kind", SLICING, WORDS, SliceReport()))
    for row in [row for found in rows_of.values() for row in found.values()]:
        replies = [message["content"] for message in row["messages"] if message["role"] == "assistant"]
        spans = [range(item.first_exchange, item.slice_point + 1) for item in sliced if item.transcript_id == row["transcript_id"]]
        assert row["slices"] == [max(1, sum(number in span for span in spans)) for number in range(1, len(replies) + 1)]
        assert (row["round"], row["tokens"]) == (0, sum(WORDS.count(message["content"]) + 4 for message in row["messages"]))


def test_only_the_corrected_replies_of_a_correction_are_learnt_and_it_has_no_slices(tmp_path):
    corrected = talk("z", 5).model_copy(update={"provenance": {"corrected": [2, 5], "round": 1}})
    short = talk("y", 1).model_copy(update={"provenance": {"corrected": [1], "round": 2}})
    without = write(tmp_path / "without")
    written = write(tmp_path, [*TALKS, corrected, short], provenance=True)
    found = conversations(tmp_path, "train")
    assert {name: (row["round"], row["slices"]) for name, row in found.items() if row["round"]} == {"z": (1, [0, 1, 0, 0, 1]), "y": (2, [1])}
    assert (written.rounds, written.tokens) == ({0: 4, 1: 1, 2: 1}, without.tokens)


def test_the_same_input_gives_identical_files(tmp_path):
    for place in ("one", "two"):
        write(tmp_path / place)
    for name in FILES[:-1]:
        assert (tmp_path / "one/x" / name).read_bytes() == (tmp_path / "two/x" / name).read_bytes()


def test_rows_have_only_messages_unless_provenance_is_requested(tmp_path):
    write(tmp_path / "plain")
    write(tmp_path / "noted", provenance=True)
    assert pyarrow.parquet.read_schema(tmp_path / "plain/x/train.parquet").names == ["messages"]
    assert pyarrow.parquet.read_schema(tmp_path / "noted/x/train.parquet").names == ["messages", "transcript_id", "slice_point", "first_exchange", "tokens"]
    assert [row["messages"] for row in rows(tmp_path / "noted", "train")] == [row["messages"] for row in rows(tmp_path / "plain", "train")]


@pytest.mark.parametrize(("apart", "side"), [({"a", "b", "c", "e"}, "train"), (set(), "validation")])
def test_a_split_without_examples_is_reported_and_leaves_no_file(tmp_path, apart, side):
    with pytest.raises(DatasetError, match=f"No {side} example: 1 transcripts are shorter"):
        write(tmp_path, apart=apart)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_many_transcripts_are_written_in_several_row_groups(tmp_path, monkeypatch):
    monkeypatch.setattr("core.dataset.example_files.FLUSH", 500)
    write(tmp_path)
    assert pyarrow.parquet.ParquetFile(tmp_path / "x/train.parquet").num_row_groups >= 3
    monkeypatch.undo()
    write(tmp_path / "whole")
    assert rows(tmp_path, "train") == rows(tmp_path / "whole", "train")


def test_statistics_count_the_examples_that_training_would_truncate():
    found = statistics([1, 2, 3, 4, 5, 8, 9, 1024], 8)
    assert (found["examples"], found["min"], found["mean"], found["max"], found["longer"]) == (8, 1, 132, 1024, 2)
    assert found["histogram"] == {"1": 1, "2": 1, "4": 2, "8": 2, "16": 1, "1024": 1}
    assert statistics([], 8)["examples"] == 0
    assert statistics([9], None)["longer"] == 0
