"""Transcripts of others are read in every known shape; a bad file is named and does not stop the rest."""

import json

import pytest

from core.errors import TranscriptError
from core.transcript_files import find_transcripts, read_transcript

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
def test_every_shape_gives_the_same_conversation_and_is_left_as_it_is(tmp_path, shape):
    path = tmp_path / "t.json"
    path.write_text(json.dumps(shape), encoding="utf-8")
    before = path.read_bytes()
    found = read_transcript(path)
    assert found.id == "t"
    assert [(exchange.user, exchange.assistant) for exchange in found.exchanges] == PAIRS
    assert path.read_bytes() == before


BAD = {
    "not JSON": ("{'id': 1}", "not a JSON file"),
    "an empty file": ("", "not a JSON file"),
    "an empty conversation": ('{"exchanges": []}', "the conversation is empty"),
    "no conversation": ('{"id": "x"}', "no conversation found among the keys"),
    "a missing side": ('{"exchanges": [{"user": "hi", "assistant": "ho"}, {"user": "hi"}]}', "exchange 2 has no assistant message"),
    "a blank side": ('{"exchanges": [{"user": "  ", "assistant": "ho"}]}', "exchange 1 has no user message"),
    "a side that is no text": ('{"exchanges": [{"user": ["hi"], "assistant": "ho"}]}', "exchange 1 has no user message"),
    "two users in a row": ('[{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]', "message 2 is the user's where the assistant's is due"),
    "the assistant first": ('[{"role": "assistant", "content": "a"}, {"role": "user", "content": "b"}]', "message 1 is the assistant's"),
    "an unknown role": ('[{"role": "narrator", "content": "a"}]', "no known role"),
    "no answer at the end": ('[{"role": "user", "content": "a"}]', "the last user message has no answer"),
    "a number": ("7", "a transcript is a JSON object or list"),
}


@pytest.mark.parametrize(("text", "said"), BAD.values(), ids=BAD)
def test_a_bad_file_is_refused_naming_file_and_place(tmp_path, text, said):
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
    assert [path.name for path in found.left_out] == ["bad.json"]


def test_an_id_that_occurs_twice_is_told_with_both_files(tmp_path):
    for name in ("a", "b"):
        (tmp_path / f"{name}.json").write_text(json.dumps(SHAPES["exchanges"]), encoding="utf-8")
    found = find_transcripts(tmp_path)
    assert [path.name for path in found.transcripts] == ["a.json"]
    reason = found.left_out[tmp_path / "b.json"]
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
def test_what_a_file_says_of_how_it_was_made_is_a_claim_and_nothing_that_is_known(tmp_path, known):
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
def test_a_seed_is_the_number_that_it_means_however_it_is_written(tmp_path, written, meant):
    path = tmp_path / "t.json"
    path.write_text(json.dumps({"exchanges": [{"user": "hi", "assistant": "ho"}], "persona": {"seed": written}}), encoding="utf-8")
    assert read_transcript(path).provenance["seed"] == meant
