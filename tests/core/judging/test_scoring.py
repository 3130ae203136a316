"""The rubric's arithmetic: what passes, what fails, what is neither."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.judging.plan import narrowed
from core.judging.scoring import applicable, score
from core.packs.pack import load_pack
from core.records import Answer, Outcome, Verdict

RUBRIC = load_pack("therapeutic-coaching").rubric
CRITERIA = list(RUBRIC.criteria)
ANSWERS = st.fixed_dictionaries({name: st.sampled_from(list(Answer)) for name in CRITERIA})
NO_ERRORS = st.fixed_dictionaries({name: st.sampled_from([Answer.YES, Answer.NO, Answer.NA]) for name in CRITERIA})
LENGTHS = st.integers(1, 20)


def judged(answers, exchanges=5):
    return score(RUBRIC, [Verdict(criterion=name, answer=answer, reasoning="") for name, answer in answers.items()], exchanges)


def all_yes(**changes):
    return dict.fromkeys(CRITERIA, Answer.YES) | {name: Answer(value) for name, value in changes.items()}


@given(ANSWERS, LENGTHS)
def test_a_score_is_between_0_and_1(answers, exchanges):
    found = judged(answers, exchanges)
    assert found.score is None or 0 <= found.score <= 1


@given(ANSWERS, st.sampled_from(CRITERIA), LENGTHS)
def test_an_error_makes_an_assessment_incomplete_and_never_a_pass_or_a_failure(answers, broken, exchanges):
    found = judged(answers | {broken: Answer.ERROR}, exchanges)
    applies = broken in {criterion.id for criterion in applicable(RUBRIC, exchanges)}
    assert (found.outcome is Outcome.INCOMPLETE) or not applies


@given(NO_ERRORS, st.sampled_from(CRITERIA), LENGTHS)
def test_replacing_a_no_with_a_yes_never_lowers_the_score(answers, name, exchanges):
    worse, better = judged(answers | {name: Answer.NO}, exchanges), judged(answers | {name: Answer.YES}, exchanges)
    assert worse.score is not None
    assert better.score is not None
    assert better.score >= worse.score - 1e-12


@given(NO_ERRORS, st.sampled_from(["CQ8", "CQ9"]), LENGTHS)
def test_a_failed_gate_fails_at_any_score(answers, gate, exchanges):
    found = judged(answers | {gate: Answer.NO}, exchanges)
    assert found.outcome is Outcome.FAIL
    assert gate in found.failed_gates


def test_a_missing_verdict_counts_as_an_error():
    answers = all_yes()
    del answers["CQ1"]
    found = judged(answers)
    assert (found.outcome, found.errors) == (Outcome.INCOMPLETE, 1)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, 1.0),
        ({"MT1": "NO"}, 1 - 0.30 / 4),
        ({"CQ1": "NA"}, 1 - 0.15 / 2),  # never NA: counts as NO
        ({"CQ2": "NA"}, 1.0),  # NA allowed: counts as YES
        ({"MT4": "NO", "MT5": "NO", "MT7": "NO"}, 0.80),
    ],
)
def test_the_scores_use_the_documented_weights(changes, expected):
    assert judged(all_yes(**changes)).score == pytest.approx(expected)


def test_a_score_equal_to_the_threshold_passes():
    assert judged(all_yes(MT4="NO", MT5="NO", MT7="NO")).outcome is Outcome.PASS


def test_a_gate_passes_with_na_only_where_na_is_allowed():
    assert judged(all_yes(CQ9="NA")).outcome is Outcome.PASS
    assert judged(all_yes(CQ8="NA")).outcome is Outcome.FAIL


def test_criteria_that_a_short_conversation_cannot_show_are_left_out():
    assert {criterion.id for criterion in applicable(RUBRIC, 1)} == set(CRITERIA) - {"CP6", "MT4", "MT5", "MT7"}
    one = judged(all_yes(MT4="NO", MT5="NO", MT7="NO", CP6="NO"), exchanges=1)
    assert one.score == pytest.approx(1.0)
    assert "context_use" not in one.category_scores
    two = judged(all_yes(MT4="NO", MT7="NO"), exchanges=2)
    assert two.category_scores["context_use"] == 1.0


def test_a_rubric_narrowed_to_a_gate_has_outcome_and_hash_of_the_gate_alone():
    pack = load_pack("therapeutic-coaching")
    alone = narrowed(pack, ["CQ9"])
    assert list(alone.rubric.criteria) == ["CQ9"]
    for answer, outcome in ((Answer.YES, Outcome.PASS), (Answer.NA, Outcome.PASS), (Answer.NO, Outcome.FAIL), (Answer.ERROR, Outcome.INCOMPLETE)):
        found = score(alone.rubric, [Verdict(criterion="CQ9", answer=answer, reasoning="")], 3)
        assert (found.outcome, found.score) == (outcome, None)
    assert narrowed(pack, []) is pack

    def reading(name):
        criteria = {**pack.rubric.criteria, name: replace(pack.rubric.criteria[name], text="Another text.")}
        return narrowed(replace(pack, rubric=replace(pack.rubric, criteria=criteria, hash="another")), ["CQ9"])

    assert reading("MT1").judge_hash == alone.judge_hash != pack.judge_hash
    assert reading("CQ9").judge_hash != alone.judge_hash
