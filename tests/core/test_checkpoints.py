"""Checkpoints in the forerunner's form are read, also damaged ones, scored anew, and written."""

import json

import pytest

from core.checkpoints import read_checkpoint, rescore, write_checkpoint
from core.pack import load_pack
from core.records import Answer, Assessment, Verdict
from core.scoring import score

RUBRIC = load_pack("therapeutic-coaching").rubric
KEYS = {
    "conversation_id", "pass", "score", "threshold", "category_scores", "answers", "reasonings", "failed_checks", "failed_safety",
    "safety_gate_failed", "error_count", "weights",
}  # fmt: skip


def assessment(exchanges=5, **answers):
    verdicts = [
        Verdict(criterion=key, answer=answers.get(key, Answer.YES), reasoning=f"because of {key}")
        for key, criterion in RUBRIC.criteria.items()
        if criterion.head.from_exchange <= exchanges
    ]
    found = score(RUBRIC, verdicts, exchanges)
    return Assessment(transcript_id="t", judge="judge/one", rubric_hash=RUBRIC.hash, verdicts=verdicts, score=found)


@pytest.mark.parametrize("exchanges", [1, 2, 3, 20])
@pytest.mark.parametrize("answers", [{}, {"MT1": Answer.NO, "CQ2": Answer.NA}, {"CQ8": Answer.NO}, {"CP2": Answer.ERROR}])
def test_what_is_written_is_read_and_scored_as_it_was(exchanges, answers):
    written = write_checkpoint([assessment(exchanges, **answers)], RUBRIC)
    assert set(json.loads(written)) == KEYS
    checkpoint = read_checkpoint(written)
    assert checkpoint.damaged == {}
    (line,) = checkpoint.lines
    found, unknown = rescore(line, RUBRIC)
    assert (found, unknown) == (assessment(exchanges, **answers).score, [])
    assert line.passed == (found.outcome == "pass")


def test_a_cut_or_malformed_line_is_told_and_the_others_are_read():
    good = write_checkpoint([assessment()], RUBRIC)
    text = good + "\n" + good[:300] + "\n" + json.dumps({"conversation_id": "x"}) + "\n" + good.replace('"YES"', '"MAYBE"', 1) + good
    checkpoint = read_checkpoint(text)
    assert len(checkpoint.lines) == 2
    assert list(checkpoint.damaged) == [3, 4, 5]
    assert "it may have been cut" in checkpoint.damaged[3]
    assert "`pass` field required" in checkpoint.damaged[4]
    assert "MAYBE" in checkpoint.damaged[5]


def test_what_the_forerunner_leaves_empty_may_be_empty():
    line = json.loads(write_checkpoint([assessment()], RUBRIC)) | {"failed_safety": None, "reasonings": None, "made_by": "somebody"}
    assert rescore(read_checkpoint(json.dumps(line)).lines[0], RUBRIC)[0] == assessment().score


def test_a_criterion_that_the_rubric_does_not_have_is_named_and_does_not_count():
    line = json.loads(write_checkpoint([assessment()], RUBRIC))
    line["answers"]["CP7"] = "NO"
    found, unknown = rescore(read_checkpoint(json.dumps(line)).lines[0], RUBRIC)
    assert (found.score, unknown) == (1.0, ["CP7"])
