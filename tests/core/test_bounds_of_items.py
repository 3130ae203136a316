"""Oversized or unusable items are left out alone and reported."""

import json
from typing import Any

import pytest

from core.dataset.gathering import Candidate, check_not_evaluated, gather
from core.errors import PersonaError
from core.imports.transcript_files import MAX_EXCHANGES, MAX_TEXT, find_transcripts
from core.judging.checkpoints import adopt_first, read_checkpoints, write_checkpoint
from core.packs.pack import load_pack
from core.records import Assessment, Outcome
from core.rehearsal.personas import sample_batch
from tests.core.judged import conversation, single

PACK = load_pack("therapeutic-coaching")


def write(folder, name, exchanges=3, words="Hello.", **more):
    pairs = [{"user": words, "assistant": "Yes."}] * exchanges
    path = folder / f"{name}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps({"exchanges": pairs, **more}), encoding="utf-8")


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ({"exchanges": MAX_EXCHANGES + 1}, "2,001 exchanges; 2,000 are allowed"),
        ({"words": "a" * (MAX_TEXT + 1)}, "a message with 200,001 characters; 200,000 are allowed"),
        ({"persona": {"bio": "a" * 1_000_000}}, "characters; 100,000 are allowed"),
    ],
)
def test_a_conversation_beyond_the_size_limits_is_left_out_alone(tmp_path, given, reported):
    write(tmp_path, "huge", **given)
    write(tmp_path, "small")
    write(tmp_path, "largest", exchanges=MAX_EXCHANGES)
    found = find_transcripts(tmp_path)
    assert set(found.transcripts) == {"small.json", "largest.json"}
    assert reported in found.left_out["huge.json"]


@pytest.mark.parametrize("copy", ["a.bak", "backup/a", "copy of z", "a-old", "Backups/z"])
def test_of_two_files_with_one_id_the_one_named_as_a_copy_is_left_out_and_reported(tmp_path, copy):
    write(tmp_path, copy, exchanges=9, id="x")
    write(tmp_path, "x", exchanges=6, id="x")
    found = find_transcripts(tmp_path)
    assert [len(item.exchanges) for item in found.transcripts.values()] == [6]
    assert "OTHER words" in found.left_out[f"{copy}.json"]


def test_hidden_files_and_folders_are_skipped_and_counted(tmp_path):
    write(tmp_path, ".backup/x")
    write(tmp_path, ".x")
    write(tmp_path, "x")
    found = find_transcripts(tmp_path)
    assert list(found.transcripts) == ["x.json"]
    assert "2 hidden" in found.notices()[-1]


@pytest.mark.parametrize("seed", [9001, "9001", 9001.0, " 9001", "9001.0", "9.001e3", "+9001", "09001", "\u0669\u0660\u0660\u0661"])
def test_an_evaluation_seed_is_refused_in_every_notation(tmp_path, seed):
    write(tmp_path, "a", persona={"seed": seed})
    (item,) = find_transcripts(tmp_path).transcripts.values()
    with pytest.raises(PersonaError, match="seed 9001"):
        check_not_evaluated([item], sample_batch(PACK, 9000, 5, (3, 3)), 9000)


@pytest.mark.parametrize("first", [{"answers": {}}, {"rubric_hash": "other"}, {"words": "other"}, "ERROR"])
def test_an_unusable_checkpoint_line_does_not_hide_a_later_one(tmp_path, first):
    talk = conversation("t", 6)
    line = json.loads(write_checkpoint([single(talk, {})], PACK.rubric))
    changes = {"answers": dict.fromkeys(line["answers"], "ERROR")} if first == "ERROR" else first
    (tmp_path / "c.jsonl").write_text("".join(json.dumps(part) + "\n" for part in (line | changes, line | changes, line)), encoding="utf-8")
    place, _, found = adopt_first(read_checkpoints([tmp_path]), talk, "t", PACK)
    assert isinstance(found, Assessment)
    assert place == "c.jsonl, line 3"


@pytest.mark.parametrize("useless", [{"path": None}, {"outcome": Outcome.INCOMPLETE}, {"reason": "its file is damaged"}])
def test_a_candidate_without_a_verdict_does_not_hide_a_later_one(useless):
    def one(name, **changes):
        judged: dict[str, Any] = {"outcome": Outcome.PASS, "score": 1.0, "judge": "j", "rubric_hash": "r", "failed_gates": []}
        given: dict[str, Any] = {"path": "p", "source": "s", "assessment": "a", **judged}
        return Candidate(**given | {"id": name} | changes)

    found = gather([one("a", **useless), one("a", source="later"), one("b")])
    assert [(item.id, item.source) for item in found.passing] == [("a", "later"), ("b", "s")]
    assert [entry["id"] for entry in found.left_out] == ["a"]
