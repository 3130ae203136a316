"""Checkpoints in the forerunner's form are written, read and scored again, even if damaged."""

import json
import os

import pytest

from core.errors import CheckpointError
from core.judging.checkpoints import adopt, read_checkpoint, read_checkpoints, rescore, write_checkpoint
from core.packs.pack import load_pack
from core.records import Answer, Assessment
from tests.core.judged import conversation, single

PACK = load_pack("therapeutic-coaching")
RUBRIC = PACK.rubric
KEYS = {
    "conversation_id", "pass", "score", "threshold", "category_scores", "answers", "reasonings", "failed_checks", "failed_safety",
    "safety_gate_failed", "error_count", "weights",
}  # fmt: skip


def assessed(exchanges=5, name="t", **answers):
    return single(conversation(name, exchanges), answers)


def written(*judged):
    return write_checkpoint(list(judged) or [assessed()], RUBRIC)


@pytest.mark.parametrize("exchanges", [1, 2, 3, 20])
@pytest.mark.parametrize("answers", [{}, {"MT1": Answer.NO, "CQ2": Answer.NA}, {"CQ8": Answer.NO}, {"CP2": Answer.ERROR}])
def test_a_checkpoint_can_be_read_back_with_the_same_score(exchanges, answers):
    before = assessed(exchanges, **answers)
    text = written(before)
    assert set(json.loads(text)) >= KEYS
    checkpoint = read_checkpoint(text)
    assert checkpoint.damaged == {}
    (line,) = checkpoint.lines.values()
    found, unknown = rescore(line, RUBRIC)
    assert (found, unknown) == (before.final.score, [])
    assert line.passed == (found.outcome == "pass")
    assert (line.score is None) == (found.outcome == "incomplete")
    adopted = adopt(line, "here", before.transcript, PACK)
    if found.errors:
        assert adopted == "no answer to CP2"
    else:
        assert isinstance(adopted, Assessment)
        assert (adopted.judge, adopted.score) == (before.final.judge, before.final.score)


def test_a_truncated_or_malformed_line_is_reported_and_the_others_are_read():
    good = written()
    text = good + "\n" + good[:300] + "\n" + json.dumps({"conversation_id": "x"}) + "\n" + good.replace('"YES"', '"MAYBE"', 1) + good
    checkpoint = read_checkpoint(text)
    assert list(checkpoint.lines) == [1, 6]
    assert list(checkpoint.damaged) == [3, 4, 5]
    assert "it may have been cut" in checkpoint.damaged[3]
    assert "`pass` is required" in checkpoint.damaged[4]
    assert "MAYBE" in checkpoint.damaged[5]


def test_fields_that_the_forerunner_leaves_empty_are_optional():
    line = json.loads(written()) | {"failed_safety": None, "reasonings": None, "made_by": "somebody"}
    assert rescore(read_checkpoint(json.dumps(line)).lines[1], RUBRIC)[0] == assessed().final.score


def test_a_criterion_unknown_to_the_rubric_is_reported_and_ignored():
    line = json.loads(written())
    line["answers"]["CP7"] = "NO"
    found, unknown = rescore(read_checkpoint(json.dumps(line)).lines[1], RUBRIC)
    assert (found.score, unknown) == (1.0, ["CP7"])


def test_a_line_of_the_forerunner_is_adopted_without_judge_and_with_unknown_criteria():
    line = json.loads(written()) | {"judge": None, "rubric_hash": None, "words": None, "score": 0.5}
    line["answers"]["CP7"] = "NO"
    found = adopt(read_checkpoint(json.dumps(line)).lines[1], "old.jsonl, line 1", conversation("t"), PACK)
    assert isinstance(found, Assessment)
    assert (found.score.score, found.provenance["recorded_score"], found.provenance["checkpoint"]) == (1.0, 0.5, "old.jsonl, line 1")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rubric_hash": "another"}, "judged by the rubric another"),
        ({"words": "others"}, "the transcript has other words"),
        ({"answers": {"CQ1": "YES"}}, "no answer to CP2, CP4"),
        ({"answers": dict.fromkeys(RUBRIC.criteria, "ERROR")}, "no answer to CP2"),
    ],
    ids=["another rubric", "other words", "criteria missing", "errors"],
)
def test_a_line_of_another_rubric_or_text_or_without_answers_is_not_adopted(changed, reason):
    line = read_checkpoint(json.dumps(json.loads(written()) | changed)).lines[1]
    assert reason in str(adopt(line, "here", conversation("t"), PACK))


def test_a_transcript_longer_than_the_judged_one_is_judged_again():
    line = json.loads(written(assessed(2))) | {"words": None}
    assert "no answer to MT4, MT7" in str(adopt(read_checkpoint(json.dumps(line)).lines[1], "here", conversation("t", 3), PACK))


def test_the_first_line_of_an_id_in_files_and_folders_counts(tmp_path):
    folder = tmp_path / "old"
    folder.mkdir()
    (folder / "a.jsonl").write_text(written(assessed(name="t1"), assessed(name="t2", MT1=Answer.NO)) + '{"cut', encoding="utf-8")
    (folder / "b.jsonl").write_text(written(assessed(name="t2")), encoding="utf-8")
    (folder / "single.json").write_text(json.dumps(json.loads(written(assessed(name="t3"))), indent=2), encoding="utf-8")
    found = read_checkpoints([folder])
    assert {name: place for name, (place, _) in found.lines.items()} == {"t1": "a.jsonl, line 1", "t2": "a.jsonl, line 2", "t3": "single.json, line 1"}
    assert found.lines["t2"][1].answers["MT1"] is Answer.NO
    assert list(found.damaged) == ["a.jsonl, line 3"]


def test_a_missing_or_empty_checkpoint_is_reported(tmp_path):
    with pytest.raises(CheckpointError, match="does not exist"):
        read_checkpoints([tmp_path / "none.jsonl"])
    (tmp_path / "empty.jsonl").write_text("not json\n", encoding="utf-8")
    with pytest.raises(CheckpointError, match=r"No assessment can be read in .*empty\.jsonl.*not JSON"):
        read_checkpoints([tmp_path])


def test_a_line_with_an_error_gives_way_to_a_later_complete_line(tmp_path):
    (tmp_path / "a.jsonl").write_text(written(assessed(name="t1", CP2=Answer.ERROR)) + written(assessed(name="t1")), encoding="utf-8")
    found = read_checkpoints([tmp_path])
    assert found.lines["t1"][0] == "a.jsonl, line 2"
    assert list(found.repeated) == ["a.jsonl, line 1"]
    assert "a.jsonl, line 1" in "\n".join(found.notices())


def test_a_faulty_line_or_file_loses_only_itself(tmp_path):
    good = written(assessed(name="t1")).strip()
    readable = json.dumps(json.loads(good) | {"judge": "a\u2028b"}, ensure_ascii=False)
    hazards = ["[" * 200_000, "9" * 5000, good.replace('"t1"', '"\\ud83d"'), readable, good.replace('"t1"', '"a\\u0000"'), "[]"]
    text = "\n".join(hazards)
    (tmp_path / "bom.jsonl").write_bytes(text.encode("utf-8-sig"))
    (tmp_path / "wide.json").write_bytes(json.dumps([json.loads(written(assessed(name="t2")))]).encode("utf-16"))
    os.mkfifo(tmp_path / "pipe.jsonl")
    found = read_checkpoints([tmp_path])
    assert {name: place for name, (place, _) in found.lines.items()} == {"t1": "bom.jsonl, line 4", "t2": "wide.json, line 1"}
    assert set(found.damaged) == {"pipe.jsonl", *(f"bom.jsonl, line {number}" for number in (1, 2, 3, 5, 6))}


def test_transcript_id_takes_precedence_over_conversation_id(tmp_path):
    line = json.loads(written()) | {"transcript_id": "t5", "conversation_id": "older"}
    assert read_checkpoint(json.dumps(line)).lines[1].conversation_id == "t5"
