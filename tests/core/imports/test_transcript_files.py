"""Transcripts are read in every known shape; an invalid file is named and does not stop the rest."""

import json
import os
import socket
import time
from datetime import UTC, datetime

import pyarrow
import pyarrow.ipc
import pyarrow.parquet
import pytest

from core.errors import TranscriptError
from core.imports.chat_exports import BRANCHES
from core.imports.foreign_files import MAX_FILE_BYTES
from core.imports.message_shapes import GREETING, HIDDEN, JOINED, KEPT_SYSTEM, LATER_SYSTEM, PICTURES, THOUGHTS, TOOLS, UNANSWERED, WEIGHTLESS
from core.imports.transcript_files import find_transcripts, read_transcript

PAIRS = [("How are you?", "Well."), ("And now?", "Better.")]

SHAPES = {
    "exchanges": {"id": "t", "exchanges": [{"exchange_number": n, "user": u, "assistant": a} for n, (u, a) in enumerate(PAIRS, 1)]},
    "conversations": {"id": "t", "conversations": [{"user": u, "assistant": a} for u, a in PAIRS]},
    "turns": {"id": "t", "turns": [{"user": u, "assistant": a} for u, a in PAIRS]},
    "messages": {
        "id": "t",
        "messages": [
            {"role": "system", "content": "Be kind."},
            *({"role": r, "content": c} for p in PAIRS for r, c in zip(("user", "assistant"), p, strict=True)),
        ],
    },
    "ShareGPT": {"id": "t", "conversations": [{"from": r, "value": c} for p in PAIRS for r, c in zip(("human", "gpt"), p, strict=True)]},
    "pairs": [list(pair) for pair in PAIRS],
    "bare messages": [{"role": r, "content": c} for p in PAIRS for r, c in zip(("user", "assistant"), p, strict=True)],
}


@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
def test_every_shape_gives_the_same_conversation_and_the_file_is_unchanged(tmp_path, shape):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(shape), encoding="utf-8")
    before = path.read_bytes()
    found = read_transcript(path)
    assert found.id == "t"
    assert [(exchange.user, exchange.assistant) for exchange in found.exchanges] == PAIRS
    assert path.read_bytes() == before


BAD = {
    "not JSON": ("{'id': 1}", "not JSON"),
    "an empty file": ("", "not JSON"),
    "an empty conversation": ('{"exchanges": []}', "the conversation is empty"),
    "no conversation": ('{"id": "x"}', "no conversation found among the keys"),
    "a missing side": ('{"exchanges": [{"user": "hi"}, {"user": "hi", "assistant": "ho"}]}', "exchange 1 has no assistant message"),
    "a blank side": ('{"exchanges": [{"user": "  ", "assistant": "ho"}]}', "exchange 1 has no user message"),
    "a side that is not text": ('{"exchanges": [{"user": ["hi"], "assistant": "ho"}]}', "exchange 1 has no user message"),
    "the user alone": ('[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]', "no user message has an answer"),
    "the assistant alone": ('[{"role": "assistant", "content": "a"}]', "no user message has an answer"),
    "an empty answer": (
        '[{"role": "user", "content": "a"}, {"role": "assistant", "content": ""}, {"role": "user", "content": "b"}, {"role": "assistant", "content": "c"}]',
        "exchange 1 has no assistant message in words",
    ),
    "an unknown role": ('[{"role": "narrator", "content": "a"}]', "no known role"),
    "no answer at the end": ('[{"role": "user", "content": "a"}]', "no user message has an answer"),
    "a number": ("7", "a transcript is a JSON object or list"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_an_invalid_file_is_refused_with_its_name_and_place(tmp_path, text, said):
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(TranscriptError) as refused:
        read_transcript(path)
    assert said in str(refused.value)
    assert str(path) in str(refused.value)


def test_one_bad_file_among_many_is_left_out_with_its_reason(tmp_path):
    for number in range(3):
        (tmp_path / f"{number}.json").write_text(
            json.dumps({"id": f"t{number}", "exchanges": [{"user": u, "assistant": a} for u, a in PAIRS]}), encoding="utf-8"
        )
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "bad.json").write_text("{", encoding="utf-8")
    (tmp_path / "notes.txt").write_text("not a transcript", encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert [transcript.id for transcript in found.transcripts.values()] == ["t0", "t1", "t2"]
    assert list(found.left_out) == ["deep/bad.json"]


def test_an_id_that_occurs_twice_is_reported_with_both_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(SHAPES["exchanges"]), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert list(found.transcripts) == ["a.json"]
    reason = found.left_out["b.json"]
    assert "a.json" in reason
    assert "'t'" in reason


def test_a_folder_without_any_readable_transcript_is_an_error(tmp_path):
    with pytest.raises(TranscriptError, match="no readable transcript"):
        find_transcripts(tmp_path)
    with pytest.raises(TranscriptError, match="is not a folder"):
        find_transcripts(tmp_path / "nowhere")


@pytest.mark.parametrize(
    "known", ["pack_hash", "caveat", "user_simulator", "assistant", "repair", "rejections", "steering", "usage", "problem_side", "source", "seed"]
)
def test_provenance_in_a_file_is_stored_as_a_claim_only(tmp_path, known):
    path = tmp_path / "t.json"
    head = {"end_reason": "target_reached", "target_exchanges": 2, "persona": {"seed": 7}, "provenance": {known: "forged"}}
    path.write_text(json.dumps({"exchanges": [{"user": "hi", "assistant": "ho"}], **head}), encoding="utf-8")
    found = read_transcript(path)
    assert {name: value for name, value in found.provenance.items() if name != "claimed"} == {"source": "t.json", "seed": 7}
    assert found.provenance["claimed"] == {"end_reason": "target_reached", "target_exchanges": 2, known: "forged"}
    assert (found.end_reason, found.target_exchanges, found.system, found.created_at) == (None, None, None, None)


@pytest.mark.parametrize(
    ("written", "meant"), [(9001, 9001), ("9001", 9001), (" 9001 ", 9001), (9001.0, 9001), (9001.5, None), (True, None), ("x", None), ([1], None)]
)
def test_a_seed_may_be_written_as_text_or_number(tmp_path, written, meant):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"exchanges": [{"user": "hi", "assistant": "ho"}], "persona": {"seed": written}}), encoding="utf-8")
    assert read_transcript(path).provenance["seed"] == meant


def said(*messages):
    return [{"role": role, "content": content} for role, content in messages]


TURNS = said(("user", "How are you?"), ("assistant", "Well."), ("user", "And now?"), ("assistant", "Better."))


def node(name, parent, role, content, **more):
    return {name: {"id": name, "parent": parent, "message": {"author": {"role": role}, "content": content, **more}}}


def words(*parts):
    return {"content_type": "text", "parts": list(parts)}


CHATGPT = {
    "title": "A talk", "conversation_id": "t", "current_node": "5",
    "mapping": {
        "0": {"id": "0", "parent": None, "message": None},
        **node("1", "0", "system", words(""), metadata={"is_visually_hidden_from_conversation": True}),
        **node("1b", "1", "user", {"content_type": "user_editable_context", "user_instructions": "Be brief."}),
        **node("2", "1b", "user", {"content_type": "multimodal_text", "parts": [{"content_type": "image_asset_pointer", "x": 1}, "How are you?"]}),
        **node("other", "2", "assistant", words("An answer that was asked again.")),
        **node("3", "2", "assistant", {"content_type": "code", "text": "look()"}, recipient="python"),
        **node("3b", "3", "tool", {"content_type": "execution_output", "text": "42"}),
        **node("3c", "3b", "assistant", {"content_type": "thoughts", "thoughts": []}),
        **node("3d", "3c", "assistant", words("Well.")),
        **node("4", "3d", "user", words("And now?")),
        **node("5", "4", "assistant", words("Better.")),
    },
}  # fmt: skip
CLAUDE = {
    "uuid": "t", "name": "A talk",
    "chat_messages": [
        {"uuid": "a", "sender": "human", "text": "", "content": [{"type": "text", "text": "How are you?"}], "attachments": [{"file_name": "x"}], "files": []},
        {"uuid": "b", "sender": "assistant", "text": "Well.", "content": [{"type": "thinking", "thinking": "Hm."}, {"type": "text", "text": "Well."}]},
        {"uuid": "c", "sender": "human", "text": "And now?", "content": []},
        {"uuid": "d", "sender": "assistant", "text": "Better."},
    ],
}  # fmt: skip
GEMINI = {
    "id": "t", "systemInstruction": {"parts": [{"text": "Be kind."}]},
    "contents": [
        {"role": "user", "parts": [{"text": "How are you?"}]},
        {"role": "model", "parts": [{"thought": True, "text": "Hm."}, {"text": "Well."}]},
        {"parts": [{"text": "And now?"}]},
        {"role": "model", "parts": [{"functionCall": {"name": "look"}}]},
        {"role": "user", "parts": [{"functionResponse": {"name": "look"}}]},
        {"role": "model", "parts": [{"text": "Better."}]},
    ],
}  # fmt: skip
ANTHROPIC = {
    "id": "t", "system": "Be kind.",
    "messages": said(
        ("user", [{"type": "text", "text": "How are you?"}]),
        ("assistant", [{"type": "thinking", "thinking": "Hm."}, {"type": "tool_use", "id": "1", "name": "look", "input": {}}]),
        ("user", [{"type": "tool_result", "tool_use_id": "1", "content": "42"}]),
        ("assistant", [{"type": "text", "text": "Well."}]),
        ("user", "And now?"),
        ("assistant", "Better."),
    ),
}  # fmt: skip
FINE_TUNING = {
    "id": "t",
    "tools": [{"type": "function"}],
    "messages": [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": "How are you?"},
        {"role": "assistant", "content": None, "tool_calls": [{"id": "1"}]},
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "assistant", "content": "Well.", "weight": 0},
        {"role": "user", "content": [{"type": "text", "text": "And now?"}, {"type": "image_url", "image_url": {"url": "data:"}}]},
        {"role": "assistant", "content": [{"type": "text", "text": "Better."}]},
    ],
}
RESPONSES = {
    "id": "t",
    "input": [
        {"role": "developer", "content": [{"type": "input_text", "text": "Be kind."}]},
        {"role": "user", "content": [{"type": "input_text", "text": "How are you?"}]},
        {"type": "reasoning", "summary": []},
        {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Well.", "annotations": []}]},
        {"role": "user", "content": "And now?"},
        {"type": "function_call", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "output": "42"},
    ],
    "output": [{"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "Better."}]}],
}
SHAREGPT = {
    "id": "t",
    "conversations": [
        {"from": "system", "value": "Be kind."},
        {"from": "human", "value": "How are you?"},
        {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "42"},
        {"from": "gpt", "value": "Well."},
        {"from": "human", "value": "And now?"},
        {"from": "gpt", "value": "Better."},
    ],
}
EXPORTS = {
    "ChatGPT": (CHATGPT, None, {HIDDEN: 1, BRANCHES: 1, PICTURES: 1, TOOLS: 2, THOUGHTS: 1}),
    "Claude": (CLAUDE, None, {PICTURES: 1, THOUGHTS: 1}),
    "Gemini": (GEMINI, "Be kind.", {KEPT_SYSTEM: 1, THOUGHTS: 1, TOOLS: 2}),
    "Anthropic's blocks": (ANTHROPIC, "Be kind.", {KEPT_SYSTEM: 1, THOUGHTS: 1, TOOLS: 2}),
    "OpenAI's fine-tuning": (FINE_TUNING, "Be kind.", {KEPT_SYSTEM: 1, TOOLS: 2, WEIGHTLESS: 1, PICTURES: 1}),
    "OpenAI's Responses": (RESPONSES, "Be kind.", {KEPT_SYSTEM: 1, TOOLS: 3}),
    "ShareGPT with tools": (SHAREGPT, "Be kind.", {KEPT_SYSTEM: 1, TOOLS: 2}),
}  # fmt: skip


@pytest.mark.parametrize(("shape", "system", "notes"), EXPORTS.values(), ids=EXPORTS)
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("container", ["object", "list", "lines"])
def test_exports_and_logs_give_the_same_conversation_and_omissions_are_counted(tmp_path, shape, system, notes, encoding, container):
    again = {**shape, "id": "u", "conversation_id": "u", "uuid": "u"}
    text = {
        "object": json.dumps(shape, indent=1).replace("\n", "\r\n"),
        "list": json.dumps([shape, again]),
        "lines": json.dumps(shape, ensure_ascii=False) + "\r\n" + json.dumps(again) + "\r\n",
    }[container]
    (tmp_path / ("t.jsonl" if container == "lines" else "t.json")).write_bytes(text.encode(encoding))
    found = find_transcripts(tmp_path)
    assert found.left_out == {}
    assert [item.id for item in found.transcripts.values()] == (["t"] if container == "object" else ["t", "u"])
    for item in found.transcripts.values():
        assert [(exchange.user, exchange.assistant) for exchange in item.exchanges] == PAIRS
        assert (item.system, item.opening) == (system, None)
        assert item.provenance["reading"] == notes
    assert len(found.notes) == len(notes)


def test_messages_that_do_not_alternate_are_joined_kept_aside_or_dropped_and_counted(tmp_path):
    messages = said(
        ("system", "Be kind."), ("assistant", "Hello!"), ("user", "Hi."), ("user", "How are you?"), ("assistant", "Well."), ("system", "Now be brief."),
        ("assistant", "And you?"), ("user", "Me too."), ("assistant", "Good."), ("user", "Bye."),
    )  # fmt: skip
    (tmp_path / "t.json").write_text(json.dumps({"messages": messages}), encoding="utf-8")
    found = find_transcripts(tmp_path)
    (talk,) = found.transcripts.values()
    assert (talk.opening, talk.system) == ("Hello!", "Be kind.")
    assert [(exchange.user, exchange.assistant) for exchange in talk.exchanges] == [("Hi.\n\nHow are you?", "Well.\n\nAnd you?"), ("Me too.", "Good.")]
    assert found.notes == {GREETING: 1, KEPT_SYSTEM: 1, JOINED: 2, LATER_SYSTEM: 1, UNANSWERED: 1}
    assert all(note in "\n".join(found.notices()) for note in found.notes)


def test_transcript_id_takes_precedence_over_id_and_the_file_name(tmp_path):
    for name, head in {"a": {"transcript_id": "first", "id": "second"}, "b": {"id": 7}, "c": {}}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({**head, "messages": TURNS}), encoding="utf-8")
    assert [item.id for item in find_transcripts(tmp_path).transcripts.values()] == ["first", "7", "c"]


def test_conversations_without_an_id_get_unique_ids_from_file_and_place(tmp_path):
    (tmp_path / "x").mkdir()
    for folder in (tmp_path, tmp_path / "x"):
        (folder / "chats.jsonl").write_text("".join(json.dumps({"messages": TURNS}) + "\n" for _ in range(2)), encoding="utf-8")
        (folder / "one.json").write_text(json.dumps(TURNS), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert {place: item.id for place, item in found.transcripts.items()} == {
        "chats.jsonl, line 1": "chats-1", "chats.jsonl, line 2": "chats-2", "one.json": "one",
        "x/chats.jsonl, line 1": "x/chats-1", "x/chats.jsonl, line 2": "x/chats-2", "x/one.json": "x/one",
    }  # fmt: skip


def test_a_corrupt_table_or_unrepresentable_value_loses_only_itself(tmp_path):
    said = pyarrow.array([TURNS, TURNS])
    born = pyarrow.array([2**62, 0], pyarrow.timestamp("us"))  # the first after the year 9999
    pyarrow.parquet.write_table(pyarrow.table({"messages": said, "born": born}), tmp_path / "a.parquet")
    beyond = pyarrow.DictionaryArray.from_arrays(pyarrow.array([0, 0x7654321], pyarrow.int32()), pyarrow.array(["x"]), safe=False)
    table = pyarrow.table({"messages": said, "city": beyond})
    with pyarrow.ipc.new_stream(str(tmp_path / "b.arrow"), table.schema) as stream:
        stream.write_table(table)
    found = find_transcripts(tmp_path)
    assert list(found.transcripts) == ["a.parquet, row 2"]
    assert "date value out of range" in found.left_out["a.parquet, row 1"]
    assert "out of bounds" in found.left_out["b.arrow"]


@pytest.mark.parametrize(
    ("message", "count", "reason"),
    [("a" * 20 * 2**20, 1, "a row of more than 16 MiB"), ("a" * 1_500_000, 64, "it expands to more than 64 MiB")],
    ids=["one row", "many rows"],
)
def test_a_small_table_that_expands_without_end_is_left_out_and_its_neighbour_read(tmp_path, message, count, reason):
    row = [{"role": "user", "content": message}, *TURNS[1:]]
    pyarrow.parquet.write_table(pyarrow.table({"messages": [row] * count}), tmp_path / "a.parquet", compression="zstd")
    assert (tmp_path / "a.parquet").stat().st_size < 20_000
    (tmp_path / "b.json").write_text(json.dumps(TURNS), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert list(found.transcripts) == ["b.json"]
    assert any(reason in left for left in found.left_out.values())


def test_an_export_with_a_very_long_branch_is_read_in_time_that_grows_with_it(tmp_path):
    roles, last, mapping = ("assistant", "user"), 40_000, {}
    for number in range(1, last + 1):
        mapping |= node(str(number), str(number - 1), roles[number % 2], words(f"message {number}"))
    (tmp_path / "t.json").write_text(json.dumps({"current_node": str(last), "mapping": mapping}), encoding="utf-8")
    began = time.process_time()
    with pytest.raises(TranscriptError, match="20,000 exchanges; 2,000 are allowed"):
        find_transcripts(tmp_path)
    assert time.process_time() - began < 5


@pytest.mark.slow
def test_tables_and_saved_datasets_are_read(tmp_path):
    from datasets import Dataset, DatasetDict

    rows = [{"id": f"t{number}", "messages": TURNS} for number in range(3)]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    DatasetDict({"train": Dataset.from_list([{"messages": TURNS}, {"messages": TURNS[:1]}])}).save_to_disk(str(tmp_path / "saved"))
    (tmp_path / "cut.parquet").write_bytes((tmp_path / "a.parquet").read_bytes()[:-9])
    found = find_transcripts(tmp_path)
    assert [item.id for item in found.transcripts.values()] == ["t0", "t1", "t2", "data-00000-of-00001-1"]
    assert list(found.left_out) == ["cut.parquet", "saved/train/data-00000-of-00001.arrow, row 2"]


HAZARDS = {
    "a lone surrogate": ('{"messages": [{"role": "user", "content": "\\ud83d"}, {"role": "assistant", "content": "x"}]}', "half of a character"),
    "a NUL": ('{"messages": [{"role": "user", "content": "a\\u0000"}, {"role": "assistant", "content": "x"}]}', "NUL"),
    "5,000 digits": (f'{{"provenance": {{"n": {"9" * 5000}}}, "messages": {json.dumps(TURNS)}}}', "too many digits"),
    "200,000 brackets": ("[" * 200_000 + "]" * 200_000, "nested too deeply"),
    "100 levels in a persona": (f'{{"persona": {{"a": {"[" * 100 + "]" * 100}}}, "messages": {json.dumps(TURNS)}}}', "levels"),
    "a circle": (json.dumps({"current_node": "a", "mapping": {**node("a", "b", "user", words("x")), **node("b", "a", "assistant", words("y"))}}), "circle"),
    "bytes that are not text": (b"\xff\xfe\xff", "not text"),
    "a line feed in an id": (json.dumps({"id": "a\nb", "messages": TURNS}), "control characters"),
}


@pytest.mark.parametrize("name", ["bad.json", "bad.jsonl"])
@pytest.mark.parametrize(("content", "reason"), HAZARDS.values(), ids=HAZARDS)
def test_an_unreadable_conversation_is_left_out_alone(tmp_path, content, reason, name):
    (tmp_path / "good.json").write_text(json.dumps(TURNS), encoding="utf-8")
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    found = find_transcripts(tmp_path)
    assert [item.id for item in found.transcripts.values()] == ["good"]
    ((place, reported),) = found.left_out.items()
    assert place.startswith(name)
    assert reason in reported or isinstance(content, bytes)


def test_special_files_are_left_out_without_blocking(tmp_path):
    (tmp_path / "good.json").write_text(json.dumps(TURNS), encoding="utf-8")
    os.mkfifo(tmp_path / "pipe.json")
    with socket.socket(socket.AF_UNIX) as served:
        served.bind(str(tmp_path / "served.json"))
    (tmp_path / "folder.json").mkdir()
    (tmp_path / "folder.json" / "deep.json").write_text(json.dumps(TURNS), encoding="utf-8")
    (tmp_path / "loop.json").symlink_to("loop.json")
    (tmp_path / "gone.json").symlink_to("nowhere")
    (tmp_path / "device.json").symlink_to("/dev/zero")
    (tmp_path / "up").symlink_to(".")
    with (tmp_path / "large.json").open("wb") as file:
        file.truncate(MAX_FILE_BYTES + 1)
    found = find_transcripts(tmp_path)
    assert [item.id for item in found.transcripts.values()] == ["deep", "good"]
    assert set(found.left_out) == {"pipe.json", "served.json", "loop.json", "gone.json", "device.json", "large.json", "up"}


def test_unsupported_file_types_are_counted_and_reported(tmp_path):
    for name in ("a.csv", "b.csv", "c.txt"):
        (tmp_path / name).write_text("x", encoding="utf-8")
    with pytest.raises(TranscriptError, match=r"types that are not read: 2 \.csv, 1 \.txt\. Types that are read: \.json, \.jsonl"):
        find_transcripts(tmp_path)
    (tmp_path / "t.json").write_text(json.dumps(TURNS), encoding="utf-8")
    (tmp_path / "README.md").write_text("Who wrote them.", encoding="utf-8")  # a read-me is not a missing transcript
    assert ".md" not in "\n".join(find_transcripts(tmp_path).notices())
    assert "2 .csv, 1 .txt" in "\n".join(find_transcripts(tmp_path).notices())


def test_two_different_files_with_one_id_are_reported_as_different(tmp_path):
    for name, turns in {"backup": TURNS * 2, "original": TURNS}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"id": "t", "messages": turns}), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert "OTHER words" in found.left_out["backup.json"]
    assert [len(item.exchanges) for item in found.doubles["t"]] == [4]
    assert [len(item.exchanges) for item in found.transcripts.values()] == [2]


def test_unicode_line_separators_do_not_end_a_json_line(tmp_path):
    text = "one\u2028two\u2029three\x85four"
    (tmp_path / "t.jsonl").write_text(json.dumps(said(("user", text), ("assistant", text)), ensure_ascii=False) + "\n", encoding="utf-8")
    (talk,) = find_transcripts(tmp_path).transcripts.values()
    assert talk.exchanges[0].user == text


ODD = {
    "a node of a tree by a list": {"mapping": {"a": {"parent": ["x"], "message": None}}, "current_node": ["a"]},
    "a parent that is an object": {"chat_messages": [{"uuid": "a", "sender": "human", "text": "q", "parent_message_uuid": {}}]},
    "parts that are a number": {"mapping": {"a": {"message": {"author": {"role": "user"}, "content": {"parts": 5}}}}, "current_node": "a"},
    "a duplicate key": '{"messages": [], "messages": [{"role": "user", "content": "q"}]}',
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_an_unexpected_shape_loses_only_its_line(tmp_path, odd):
    lines = [json.dumps(TURNS), odd if isinstance(odd, str) else json.dumps(odd), json.dumps([*TURNS, *TURNS])]
    (tmp_path / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert list(found.transcripts) == ["t.jsonl, line 1", "t.jsonl, line 3"]
    assert list(found.left_out) == ["t.jsonl, line 2"]


def test_a_value_that_json_lacks_loses_its_row_only_if_it_is_used(tmp_path):
    made = datetime(2026, 1, 2, tzinfo=UTC)
    rows = [
        {"messages": TURNS, "created_at": made, "picture": b"\xff", "persona": {"born": made.date()}},
        {"messages": TURNS * 2, "persona": {"photo": b"\xff"}},
        {"messages": TURNS * 3},
    ]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "t.parquet")
    found = find_transcripts(tmp_path)
    assert [len(item.exchanges) for item in found.transcripts.values()] == [2, 6]
    assert found.transcripts["t.parquet, row 1"].persona == {"born": "2026-01-02"}
    assert "bytes" in found.left_out["t.parquet, row 2"]


def test_json_lines_are_read_from_a_json_file_and_with_a_byte_order_mark_per_line(tmp_path):
    lines = [json.dumps(said(("user", "q"), ("assistant", f"a {number}"))) for number in range(3)]
    (tmp_path / "t.json").write_text("\r\n\r\n".join(f"\ufeff{line}" for line in lines), encoding="utf-8")
    assert [item.exchanges[0].assistant for item in find_transcripts(tmp_path).transcripts.values()] == ["a 0", "a 1", "a 2"]


def test_ids_in_two_unicode_forms_are_the_same(tmp_path):
    for name, form in {"a": "caf\u00e9", "b": "cafe\u0301"}.items():
        (tmp_path / f"{name}.json").write_text(json.dumps({"id": form, "messages": TURNS}), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert [item.id for item in found.transcripts.values()] == ["caf\u00e9"]
    assert list(found.left_out) == ["b.json"]


@pytest.mark.parametrize(("user", "assistant"), [("USER ", "Assistant"), ("human", "ai"), ("Human", "AI")])
def test_roles_are_recognised_in_every_spelling(tmp_path, user, assistant):
    (tmp_path / "t.json").write_text(json.dumps([{"speaker": user, "text": "q"}, {"speaker": assistant, "text": "a"}]), encoding="utf-8")
    (item,) = find_transcripts(tmp_path).transcripts.values()
    assert (item.exchanges[0].user, item.exchanges[0].assistant) == ("q", "a")
