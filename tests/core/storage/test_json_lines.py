"""JSON lines with any text are read as written, and invalid lines do not affect valid ones."""

import asyncio
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.judging.checkpoints import read_checkpoint
from core.llm.bills import read_entries
from core.llm.chat import ChatRequest, Message, Usage
from core.llm.ledger import Ledger
from core.settings.models import Budget
from core.storage.json_lines import read_objects, split_lines
from core.storage.store import Store

BREAKS = "\u2028\u2029\x85\x0b\x0c\x1c\x1d\x1e\r\n\ufeff\x00"
texts = st.text(st.one_of(st.sampled_from(BREAKS), st.characters(exclude_categories=["Cs"])), max_size=20)
"""Anything that a file can hold, with what looks like the end of a line often."""


@given(st.lists(texts))
def test_json_lines_are_read_as_written(values):
    file = "".join(json.dumps({"text": value}, ensure_ascii=False) + "\n" for value in values)
    assert [json.loads(line)["text"] for line in split_lines(file)] == values
    assert [line["text"] for line in read_objects(file.encode())] == values


@pytest.mark.slow
@given(st.lists(texts, min_size=1), st.binary(max_size=30), st.integers(0, 200))
def test_lines_that_are_not_objects_are_skipped(values, noise, cut):
    file = "".join(json.dumps({"text": value}, ensure_ascii=False) + "\n" for value in values).encode()
    others = b'null\n[]\n"text"\n12\n' + b"[" * 100_000 + b"\n" + b"9" * 5_000 + b"\n" + noise.replace(b"\n", b"").replace(b"{", b"") + b"\n"
    cut_short = '{"text": "ä"}'.encode()[: cut % 14]
    assert [line["text"] for line in read_objects(others + file + others + cut_short) if "text" in line][: len(values)] == values


@given(texts.filter(lambda text: "\x00" not in text))
def test_texts_of_a_checkpoint_are_read_as_written(tmp_path_factory, text):
    line = {"conversation_id": text, "pass": True, "score": 1.0, "threshold": 0.7, "category_scores": {}, "answers": {}, "reasonings": {"A": text}}
    found = read_checkpoint(json.dumps(line, ensure_ascii=False) + "\n")
    assert not found.damaged
    assert (found.lines[1].conversation_id, found.lines[1].reasonings) == (text, {"A": text})


def test_unreadable_lines_of_a_checkpoint_are_reported_and_the_rest_is_read():
    line = {"conversation_id": "x", "pass": True, "score": 1.0, "threshold": 0.7, "category_scores": {}, "answers": {}}
    found = read_checkpoint("\n".join(["null", "[]", '"text"', "[" * 100_000, "9" * 5_000, json.dumps(line)]))
    assert list(found.lines) == [6]
    assert list(found.damaged) == [1, 2, 3, 4, 5]


def test_a_checkpoint_line_with_a_nul_is_reported():
    line = {"conversation_id": "x", "pass": True, "score": 1.0, "threshold": 0.7, "category_scores": {}, "answers": {}, "reasonings": {"A": "\x00"}}
    assert "NUL" in read_checkpoint(json.dumps(line)).damaged[1]


@given(texts, texts)
def test_the_ledger_reads_calls_with_any_item_and_model_name(tmp_path_factory, item, words):
    store = Store(str(tmp_path_factory.mktemp("data")))
    ledger = Ledger(store, "run", Budget(usd=None, tokens=None))
    request = ChatRequest(role="judge", system="", messages=(Message("user", "x"),), max_tokens=1, seed=0, item=item)
    asyncio.run(ledger.reserve(request, f"provider/{words}", Usage(1, 1), None, 60))
    (entry,) = read_entries(store, "run")
    assert (entry["item"], entry["model"]) == (item, f"provider/{words}")


def test_ledger_lines_that_are_not_calls_are_skipped(tmp_path):
    store = Store(str(tmp_path))
    ledger = Ledger(store, "run", Budget(usd=None, tokens=None))
    request = ChatRequest(role="judge", system="", messages=(), max_tokens=1, seed=0, item="x")
    asyncio.run(ledger.reserve(request, "a/b", Usage(1, 1), None, 60))
    for number, text in enumerate([b"null\n", b"[]\n", b'"text"\n', b"{}\n", b'{"call": 3}\n', b'{"call": "\xc3', b"\xff\xfe\n"]):
        store.write(f"ledger/run/other-{number}.jsonl", text)
    assert [entry["item"] for entry in read_entries(store, "run")] == ["x"]
    assert Ledger(store, "run", Budget(usd=None, tokens=None)).bill.calls == 1


@pytest.mark.parametrize("kept", ["calls.jsonl", "calls-00000001.jsonl"])
def test_a_ledger_with_unreadable_lines_says_that_its_total_is_too_small(tmp_path, kept):
    store = Store(str(tmp_path / "data") if kept == "calls.jsonl" else f"memory://{tmp_path.name}")
    ledger = Ledger(store, "run", Budget(usd=None, tokens=None))
    request = ChatRequest(role="judge", system="", messages=(), max_tokens=1, seed=0, item="x")
    asyncio.run(ledger.reserve(request, "a/b", Usage(1, 1), None, 60))
    assert Ledger(store, "run", Budget(usd=None, tokens=None)).damage is None
    before = store.read_bytes(f"ledger/run/{kept}") if kept == "calls.jsonl" else b""
    store.write(f"ledger/run/{kept}", before + b'{"call": "cut of\n')
    damaged = Ledger(store, "run", Budget(usd=None, tokens=None))
    assert damaged.bill.calls == 1
    assert str(damaged.damage).startswith(f"{store.root}/ledger/run is damaged: 1 of its lines are not valid calls, and the bill and the budget lack")


@pytest.mark.parametrize("place", ["at a line's end", "within a line", "all of it", "within the counted part, after a kill"])
def test_a_bill_that_was_cut_says_that_it_is_too_small_and_one_of_a_killed_process_does_not(tmp_path, place):
    store, budget = Store(str(tmp_path)), Budget(usd=None, tokens=None)
    request = ChatRequest(role="judge", system="", messages=(), max_tokens=1, seed=0, item="x")
    running = Ledger(store, "run", budget)
    for _ in range(3):
        asyncio.run(running.reserve(request, "a/b", Usage(1, 1), None, 60))
    path = tmp_path / "ledger/run/calls.jsonl"
    whole = path.read_bytes()
    path.write_bytes(whole + whole[:20])  # a process that was killed while it wrote
    assert Ledger(store, "run", budget).damage is None
    two = whole.rfind(b"\n", 0, -1) + 1
    path.write_bytes(whole[: {"at a line's end": two, "within a line": two + 20, "all of it": 0}.get(place, two)] + whole[:20] * ("kill" in place))
    lost = len(whole) if place == "all of it" else len(whole) - two
    assert f"it lacks {lost:,} bytes of what was written to it, and the bill and the budget lack their cost" in str(Ledger(store, "run", budget).damage)
    asyncio.run(running.reserve(request, "a/b", Usage(1, 1), None, 60))
    assert running.damage == Ledger(store, "run", budget).damage is not None  # what is written later does not hide it


def test_a_bill_in_an_object_store_of_which_lines_are_missing_says_that_it_is_too_small(tmp_path):
    store, budget = Store(f"memory://{tmp_path.name}"), Budget(usd=None, tokens=None)
    request = ChatRequest(role="judge", system="", messages=(), max_tokens=1, seed=0, item="x")
    for _ in range(3):
        asyncio.run(Ledger(store, "run", budget).reserve(request, "a/b", Usage(1, 1), None, 60))
    store.remove("ledger/run/calls-00000001.jsonl")
    assert "it lacks 1 line of what was written to it" in str(Ledger(store, "run", budget).damage)
