"""Power: known sample sizes, limits of few personas, and recovered spreads."""

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.errors import EvaluationError
from core.evaluation.paired_statistics import sign_flip_p
from core.evaluation.power import Spread, analyse_power, assumed_spread, pilot_spread, power_of
from core.evaluation.record import read_pilot
from core.evaluation.sentences import power_sentence
from tests.core.arms import evaluation, lost

ASSUMED = assumed_spread(0.05, 0.15, 0.70)


def spread(sd, base_mean=0.5):
    return Spread(between=sd, within=0.0, base_mean=base_mean, source="made up")


@pytest.mark.parametrize(("dz", "personas"), [(0.2, 199), (0.5, 34), (0.8, 15)])
def test_the_personas_that_a_paired_t_test_needs_match_published_values(dz, personas):
    # two-sided 5 %, 80 % power, matched pairs: G*Power's figures for Cohen's small, medium and large effect
    assert analyse_power(10, 3, spread(0.05 / dz), gain=0.1).personas_for_gain == pytest.approx(personas, abs=1)


def test_with_five_personas_the_report_says_that_no_difference_can_be_shown():
    found = analyse_power(5, 3, ASSUMED)
    assert (found.smallest_difference, found.gain_power, found.least_p) == (None, 0.0, 0.0625)
    assert "5 personas cannot show any difference: the smallest p of the sign-flip test is 0.0625, and p below 0.05 takes 6 personas" in power_sentence(found)
    assert power_of(1.0, 0.001, 5, 0.05) == 0.0
    assert analyse_power(5, 3, spread(0.001)).personas_for_gain == 6


def test_six_personas_must_all_have_the_same_sign():
    assert power_of(0.1, 0.1, 6, 0.05) == pytest.approx(stats.norm.cdf(1) ** 6 + stats.norm.cdf(-1) ** 6)


@pytest.mark.parametrize(("personas", "effect"), [(7, 1.2), (8, 0.8), (10, 1.0)])
def test_predicted_power_matches_simulated_tests(personas, effect):
    means = np.random.default_rng(1).normal(effect, 1, (3000, personas))
    assert np.mean(sign_flip_p(means, 1) < 0.05) == pytest.approx(power_of(effect, 1, personas, 0.05), abs=0.05)


@given(st.integers(1, 200), st.floats(0, 5), st.floats(0, 2), st.sampled_from([0.001, 0.01, 0.05, 0.2]))
def test_power_is_a_probability_that_grows_with_the_difference(personas, difference, more, alpha):
    low, high = power_of(difference, 1.0, personas, alpha), power_of(difference + more, 1.0, personas, alpha)
    assert 0 <= low <= high + 1e-9 <= 1 + 2e-9
    assert power_of(-difference, 1.0, personas, alpha) == low
    assert power_of(0, 1.0, personas, alpha) <= alpha + 1e-9


@pytest.mark.parametrize(("personas", "alpha", "level"), [(6, 0.05, 2 / 64), (7, 0.05, 6 / 128), (8, 0.05, 12 / 256), (9, 0.01, 4 / 512), (5, 0.0625, 0)])
def test_without_a_difference_power_is_the_attainable_level(personas, alpha, level):
    assert power_of(0, 1.0, personas, alpha) == pytest.approx(level)


@pytest.mark.parametrize("personas", [6, 7, 8, 10, 30, 300])
def test_the_smallest_detectable_difference_has_the_requested_power(personas):
    found = analyse_power(personas, 3, ASSUMED, wanted_power=0.9)
    assert found.smallest_difference is not None
    assert power_of(found.smallest_difference, found.sd, personas, 0.05) == pytest.approx(0.9, abs=1e-6)
    assert f"{personas} personas × 3 trials show a true difference of {found.smallest_difference:.3f} with 90 % power" in power_sentence(found)


def test_more_trials_reduce_only_the_variance_within_personas():
    assert (analyse_power(10, 12, ASSUMED).smallest_difference or 1) < (analyse_power(10, 3, ASSUMED).smallest_difference or 0)
    assert analyse_power(10, 12, spread(0.1)).smallest_difference == analyse_power(10, 3, spread(0.1)).smallest_difference
    assert Spread(between=0.3, within=0.4, base_mean=0.5, source="").of_mean(1) == pytest.approx(0.5)


def test_the_spread_of_a_pilot_matches_a_calculation_by_hand():
    # differences of 0.1 and 0.3, of 0.4 and 0.4, of 0.0: within (0.02 + 0) / 2; means 0.2, 0.4, 0.0 have variance 0.04, less 0.01 × (1/2 + 1/2 + 1) / 3
    rows = evaluation(base=[[0.5, 0.5], [0.4, 0.4], [0.6]], arm=[[0.6, 0.8], [0.8, 0.8], [0.6]], other=[0.5, 0.5])
    found = pilot_spread(rows, "base", "arm")
    assert found.within == pytest.approx(math.sqrt(0.01))
    assert found.between == pytest.approx(math.sqrt(0.04 - 0.01 * 2 / 3))
    assert found.base_mean == pytest.approx(0.5)
    assert "a pilot of 3 personas and 5 pairs" in found.source


def test_a_pilot_with_single_pairs_or_without_spread_is_usable():
    single = pilot_spread(evaluation(base=[0.5, 0.5, 0.5], arm=[0.6, 0.7, 0.8]), "base", "arm")
    assert (single.within, single.between) == (0.0, pytest.approx(0.1))
    none = analyse_power(8, 2, pilot_spread(evaluation(base=[0.5, 0.5], arm=[0.6, 0.6]), "base", "arm"))
    assert (none.smallest_difference, none.personas_for_gain, none.gain_power) == (0.0, 6, pytest.approx(1.0))


def test_spread_within_personas_can_explain_all_spread_between_them():
    found = pilot_spread(evaluation(base=[[0.5, 0.5]] * 2, arm=[[0.3, 0.7], [0.7, 0.3]]), "base", "arm")
    assert found.between == 0.0
    assert found.within > 0


def test_an_impossible_power_plan_is_refused():
    rows = evaluation(base=[0.5, 0.6], arm=[0.8, 0.9])
    rows[0] = lost(rows[0])
    with pytest.raises(EvaluationError, match="a pilot needs at least 2"):
        pilot_spread(rows, "base", "arm")
    with pytest.raises(EvaluationError, match="personas is 1; 2 to 10000 is allowed"):
        analyse_power(1, 3, ASSUMED)
    with pytest.raises(EvaluationError, match=r"gain is -0\.1; 0 to 10 is allowed"):
        analyse_power(8, 3, ASSUMED, gain=-0.1)
    with pytest.raises(EvaluationError, match=r"alpha is 0\.9 and the power wanted 0.8"):
        analyse_power(8, 3, ASSUMED, alpha=0.9)


def test_a_zero_gain_and_an_unreachable_one_are_reported():
    assert analyse_power(8, 3, spread(0.1, base_mean=0.0)).personas_for_gain is None
    assert "a gain of 0 needs no personas" in power_sentence(analyse_power(8, 3, spread(0.1, base_mean=0.0)))
    assert "needs more than 10000 personas" in power_sentence(analyse_power(8, 3, spread(0.4), gain=0.001))
    assert "more than the base leaves room for" in power_sentence(analyse_power(8, 3, spread(0.9), gain=0.1))


def test_a_pilot_of_another_version_is_read(tmp_path):
    rows = evaluation(base=[0.5, 0.6], arm=[0.8, 0.9])
    file = tmp_path / "comparison.json"
    file.write_text(json.dumps({"comparison": {"base": "base", "notes": ["a note"]}, "played": [row.model_dump(mode="json") for row in rows], "text": "old"}))
    assert read_pilot(file) == (rows, "base")
    file.write_text(json.dumps({"comparison": {}, "played": []}))
    with pytest.raises(EvaluationError, match=r"is not the comparison\.json of an evaluation"):
        read_pilot(file)
