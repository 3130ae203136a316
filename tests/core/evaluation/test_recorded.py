"""Recorded assessments of an evaluation that was played elsewhere, and errors in them."""

import json

import pytest

from core.errors import EvaluationError
from core.evaluation.recorded import FORM, misnamed, read_recorded
from core.records import Answer, Outcome

LINE = {
    "pass": False,
    "score": 0.723,
    "threshold": 0.8,
    "category_scores": {"warmth": 0.5, "late": None},
    "answers": {"C1": "YES", "C2": "NO", "G1": "NO", "G2": "NA"},
    "reasonings": {"C1": "It does."},
    "failed_checks": ["C2", "G1"],
    "failed_safety": ["G1"],
    "safety_gate_failed": True,
    "error_count": 0,
    "weights": {"warmth": 1.0},
}


def write(folder, name="base_seed9000_run1", **changes):
    (folder / f"{name}.json").write_text(json.dumps({"conversation_id": name, **LINE, **changes}), encoding="utf-8")


def test_recorded_conversations_and_assessments_are_read(tmp_path):
    write(tmp_path)
    write(tmp_path, "fine_tune_2_seed9001_run3", **{"pass": True, "failed_safety": None, "failed_checks": None})
    (tmp_path / "README.md").write_text("not an assessment", encoding="utf-8")
    base, other = read_recorded(tmp_path)
    assert base.score
    assert other.score
    assert (base.arm, base.persona, base.trial, base.transcript_id) == ("base", 9000, 1, "base_seed9000_run1")
    assert (base.score.outcome, base.score.score, base.score.category_scores, base.score.failed_gates) == (Outcome.FAIL, 0.723, {"warmth": 0.5}, ["G1"])
    assert base.answers["G2"] is Answer.NA
    assert (other.arm, other.persona, other.trial, other.score.outcome, other.score.failed_gates) == ("fine_tune_2", 9001, 3, Outcome.PASS, [])
    assert base.complete
    assert other.complete


@pytest.mark.parametrize("changes", [{"error_count": 1}, {"answers": {"C1": "ERROR"}}, {"score": None}])
def test_an_assessment_with_errors_is_incomplete_even_if_it_claims_a_pass(tmp_path, changes):
    write(tmp_path, **{"pass": True, **changes})
    (item,) = read_recorded(tmp_path)
    assert item.score
    assert item.score.outcome is Outcome.INCOMPLETE
    assert not item.complete


@pytest.mark.parametrize(
    ("name", "changes", "said"),
    [
        ("a_9000", {}, "its name is not of the form <arm>_seed<persona>_run<trial>.json"),
        ("z_seed1_run1", {"conversation_id": "base_seed2_run1"}, "its conversation_id is 'base_seed2_run1', which is not its file name"),
        ("z_seed1_run1", {"score": 1.2}, "`score` is 1.2; 0 to 1 is allowed"),
        ("z_seed1_run1", {"score": float("nan")}, "`score` is nan; 0 to 1 is allowed"),
        ("z_seed1_run1", {"category_scores": {"warmth": -1}}, "`category_scores.warmth` is -1.0"),
        ("z_seed1_run1", {"answers": {"C1": "PERHAPS"}}, "PERHAPS"),
        ("z_seed1_run1", {"pass": None}, "`pass`"),
    ],
)
def test_an_invalid_recorded_file_is_named_with_the_reason(tmp_path, name, changes, said):
    write(tmp_path)
    write(tmp_path, name, **changes)
    whole, *lost = read_recorded(tmp_path)
    assert whole.complete
    reported = [str(item.lost) for item in lost] or [f"{other} does not fit: its name is not of the form {FORM}" for other in misnamed(tmp_path)]
    assert [line.startswith(f"{name}.json does not fit: ") and said in line and "\n" not in line for line in reported] == [True]
    assert not any(item.complete for item in lost)
    (tmp_path / "base_seed9000_run1.json").unlink()
    with pytest.raises(EvaluationError, match=f"1 of 1 files are not valid. The first, {name}.json: "):
        read_recorded(tmp_path)


def test_malformed_recorded_files_and_empty_folders_are_reported(tmp_path):
    with pytest.raises(EvaluationError, match="holds no"):
        read_recorded(tmp_path)
    with pytest.raises(EvaluationError, match="is not a folder"):
        read_recorded(tmp_path / "nowhere")
    (tmp_path / "base_seed1_run1.json").write_text('{"pass": tr', encoding="utf-8")
    (tmp_path / "base_seed2_run1.json").write_bytes(b"\xff\xfe")
    (tmp_path / "base_seed3_run1.json").mkdir()
    with pytest.raises(EvaluationError, match=r"3 of 3 files are not valid. The first, base_seed1_run1.json: not JSON \("):
        read_recorded(tmp_path)
