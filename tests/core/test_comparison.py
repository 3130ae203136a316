"""Base against understudy: paired by persona, nothing lost in silence, and no figure that is not a number."""

import math

import numpy as np
import pytest
from scipy import stats

from core.comparison import Played, bootstrap_interval, compare, sign_flip_p
from core.errors import EvaluationError
from core.records import Outcome, Score
from core.settings import Decision

RULE = Decision(improvement=0.1, alpha=0.05, safety_margin=0.0)


def scored(value, gates=(), outcome=None):
    found = outcome or (Outcome.PASS if value >= 0.8 and not gates else Outcome.FAIL)
    return Score(outcome=found, score=value, category_scores={}, failed_checks=[], failed_gates=list(gates), errors=0)


def played(base, understudy, trials=1):
    """Give each persona's score in both arms; the trials of one persona are alike."""
    return [
        Played(arm=arm, persona=9000 + number, trial=trial, transcript_id="t", score=scored(value))
        for arm, values in (("base", base), ("understudy", understudy))
        for number, value in enumerate(values)
        for trial in range(trials)
    ]


def test_five_personas_that_all_gain_cannot_reach_five_percent():
    # of the 2^5 sign flips only 2 are as extreme: 2/32
    assert sign_flip_p(np.array([0.1, 0.2, 0.1, 0.3, 0.2])) == pytest.approx(2 / 32)


def test_the_permutation_p_counts_flips():
    # by hand: 1 + 2 - 3 is 0, so all 8 flips are as extreme; of 1 + 2 + 3 only itself and its mirror are
    assert sign_flip_p(np.array([1.0, 2.0, -3.0])) == pytest.approx(1.0)
    assert sign_flip_p(np.array([1.0, 2.0, 3.0])) == pytest.approx(2 / 8)


def test_more_trials_of_the_same_personas_are_no_more_evidence():
    few, many = compare(played([0.5] * 5, [0.6, 0.7, 0.6, 0.8, 0.7], 1), RULE, 1000), compare(played([0.5] * 5, [0.6, 0.7, 0.6, 0.8, 0.7], 9), RULE, 1000)
    assert few.p_value == many.p_value
    assert few.interval == many.interval
    naive = stats.ttest_rel(np.repeat([0.6, 0.7, 0.6, 0.8, 0.7], 9), np.repeat([0.5] * 5, 9)).pvalue
    assert naive < few.p_value


def test_the_decisions():
    gain = [0.70, 0.75, 0.80, 0.85, 0.72, 0.81, 0.78, 0.69]
    assert compare(played([0.5] * 8, gain), RULE, 1000).decision == "ship"
    assert compare(played([0.7] * 8, [value * 0.97 for value in gain]), RULE, 1000).decision == "iterate"
    assert compare(played(gain, [0.5] * 8), RULE, 1000).decision == "do not deploy"
    unsafe = played([0.5] * 8, gain)
    unsafe[-1] = unsafe[-1].model_copy(update={"score": scored(0.9, gates=["CQ8"])})
    found = compare(unsafe, RULE, 1000)
    assert found.decision == "do not deploy"
    assert "failed gates" in found.reason


def test_equal_arms_give_numbers_and_no_nan():
    found = compare(played([0.5, 0.6], [0.5, 0.6]), RULE, 1000)
    assert (found.difference, found.p_value, found.interval) == (0.0, 1.0, None)
    assert found.decision == "do not deploy"
    assert all(math.isfinite(value) for value in (found.base_mean, found.understudy_mean, *found.pass_rate.values()))


def test_lost_and_incomplete_conversations_are_counted_and_their_pairs_left_out():
    rows = played([0.5, 0.6, 0.7], [0.8, 0.9, 0.9], trials=2)
    rows[0] = rows[0].model_copy(update={"score": None, "lost": "answered with nothing"})
    rows[-1] = rows[-1].model_copy(update={"score": scored(0.9, outcome=Outcome.INCOMPLETE)})
    found = compare(rows, RULE, 1000)
    assert found.lost == {"base": 1, "understudy": 1}
    assert (found.pairs, found.personas) == (4, 3)


def test_fewer_than_two_complete_personas_are_refused_with_the_reason():
    rows = played([0.5, 0.6], [0.8, 0.9])
    rows[0] = rows[0].model_copy(update={"score": None, "lost": "answered with nothing"})
    with pytest.raises(EvaluationError, match="answered with nothing"):
        compare(rows, RULE, 1000)


def test_the_interval_covers_the_truth_about_as_often_as_it_says():
    draw = np.random.default_rng(1)
    covered = 0
    for _ in range(200):
        interval = bootstrap_interval(draw.normal(0.1, 0.2, 20), 300)
        assert interval is not None
        covered += interval[0] <= 0.1 <= interval[1]
    assert 0.88 <= covered / 200 <= 0.98  # the percentile bootstrap is a little short at 20
