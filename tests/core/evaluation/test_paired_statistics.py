"""Tests and intervals of paired differences: published examples, independent calculations, and no NaN."""

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from core.evaluation.failure_rates import rate_bound, units_for
from core.evaluation.paired_statistics import (
    EXACT,
    bootstrap_interval,
    effect_size,
    holm,
    least_p,
    mcnemar_p,
    paired_t,
    personas_for_p,
    relative_interval,
    sign_flip_p,
    t_interval,
)
from core.quantities import format_beside, format_share

FLIPS = 20_000
DARWIN = np.array([49, -67, 8, 16, 6, 23, 28, 41, 14, 29, 56, 24, 75, 60, -48]) / 1000
"""Heights of 15 pairs of maize plants, crossed − self-fertilised (Fisher, The Design of Experiments, §17 and §21)."""
some_differences = st.lists(st.integers(-20, 20).map(lambda number: number / 20), min_size=2, max_size=9).map(np.array)


def p_of(differences, flips=FLIPS):
    return float(sign_flip_p(np.array(differences, dtype=float), flips))


# --- the sign-flip test ---------------------------------------------------------------------------------------------


def test_the_permutation_test_matches_fishers_count_for_darwins_maize():
    # of the 32,768 sign patterns 863 have a sum at least as large, and as many one at least as small
    assert p_of(DARWIN) == pytest.approx(2 * 863 / 32768, abs=1e-12)


@given(some_differences)
def test_the_permutation_test_counts_sign_patterns_at_least_as_extreme(differences):
    whole = np.rint(differences * 20).astype(int)
    patterns = [abs(sum(sign * value for sign, value in zip(signs, whole, strict=True))) for signs in product([-1, 1], repeat=len(whole))]
    assert p_of(differences) == pytest.approx(np.mean([value >= abs(whole.sum()) for value in patterns]))


@given(some_differences)
def test_the_permutation_p_value_ignores_direction_and_order(differences):
    found = p_of(differences)
    assert 0 < found <= 1
    assert found >= least_p(differences, FLIPS) - 1e-12
    assert p_of(-differences) == found
    assert p_of(differences[::-1]) == pytest.approx(found)


@pytest.mark.slow
def test_the_sampled_p_value_is_close_to_the_exact_one_and_never_zero():
    many = np.concatenate([DARWIN, DARWIN[:6]])
    assert len(many) == EXACT + 1
    signs = (np.arange(2**EXACT)[:, None] >> np.arange(EXACT) & 1) * 2 - 1
    exact = np.mean(np.abs(signs @ many[1:] + many[0]) >= abs(many.sum()) - 1e-9)
    assert p_of(many, 100_000) == pytest.approx(exact, abs=4 * math.sqrt(exact / 100_000))
    assert p_of([0.1] * 40, 1000) == pytest.approx(1 / 1001)
    assert p_of(many) == p_of(many)


@pytest.mark.parametrize(("personas", "least"), [(2, 0.5), (5, 0.0625), (6, 0.03125), (8, 1 / 128)])
def test_with_few_personas_even_the_largest_gain_is_not_significant(personas, least):
    assert p_of([0.9] * personas) == least_p(np.array([0.9] * personas), FLIPS) == least
    assert (personas_for_p(0.05) <= personas) == (least < 0.05)


def test_a_persona_without_a_difference_adds_no_evidence():
    for without in (3, 60):  # also where there are too many personas to look at each pattern
        differences = np.array([0.2] * 5 + [0.0] * without)
        assert p_of(differences) == least_p(differences, FLIPS) == 0.0625


# --- t, intervals, effect sizes -------------------------------------------------------------------------------------


def test_the_t_test_matches_the_published_value_for_darwins_maize():
    found = paired_t(DARWIN)
    assert (found.n, found.t, found.p) == (15, pytest.approx(2.148, abs=5e-4), pytest.approx(0.0497, abs=5e-5))


def test_the_interval_matches_a_calculation_by_hand():
    # mean 0.2, standard error 0.1 / √3, and 97.5 % of Student's t with 2 degrees of freedom lie below 4.3027
    assert t_interval(np.array([0.1, 0.2, 0.3])) == pytest.approx((0.2 - 4.3027 * 0.1 / math.sqrt(3), 0.2 + 4.3027 * 0.1 / math.sqrt(3)), abs=1e-5)


def test_intervals_stay_within_the_possible_differences():
    assert t_interval(np.array([-0.9, 0.9])) == (-1.0, 1.0)


@given(some_differences)
def test_intervals_contain_the_estimate_and_are_mirrored_with_the_arms(differences):
    quoted, turned, effect = t_interval(differences), t_interval(-differences), effect_size(differences)
    bootstrap = bootstrap_interval(differences, 200)
    assert quoted
    assert turned
    assert quoted[0] <= differences.mean() <= quoted[1]
    assert quoted == pytest.approx((-turned[1], -turned[0]))
    if np.ptp(differences) == 0:
        assert (bootstrap, effect.dz) == (None, None)
        return
    assert bootstrap
    assert effect.interval
    assert effect.dz is not None
    assert effect.interval[0] <= effect.dz <= effect.interval[1]
    assert differences.min() - 1e-9 <= bootstrap[0] <= bootstrap[1] <= differences.max() + 1e-9


def test_the_bootstrap_of_two_personas_draws_whole_personas():
    # with two of them a resample is one twice (a quarter each) or both
    assert bootstrap_interval(np.array([0.0, 0.4]), 2000) == pytest.approx((0.0, 0.4))


def test_the_interval_of_the_effect_size_has_its_nominal_tails():
    effect, t = effect_size(DARWIN), paired_t(DARWIN).t
    assert effect.interval
    assert t is not None
    assert effect.dz == pytest.approx(t / math.sqrt(15))
    assert effect_size(-DARWIN).interval == pytest.approx((-effect.interval[1], -effect.interval[0]), abs=1e-6)
    for bound, share in zip(effect.interval, (0.975, 0.025), strict=True):
        assert stats.nct.cdf(t, 14, bound * math.sqrt(15)) == pytest.approx(share, abs=1e-5)


@pytest.mark.parametrize(("personas", "correction"), [(3, 0.5642), (4, 0.7236), (5, 0.7979), (6, 0.8408), (11, 0.9228)])
def test_hedges_correction_matches_his_table(personas, correction):
    effect = effect_size(np.arange(1, personas + 1) / 20)
    assert effect.dz is not None
    assert effect.hedges_g == pytest.approx(correction * effect.dz, abs=1e-3)


@given(st.floats(-1, 1), st.floats(-1, 1), st.integers(2, 200), st.floats(0, 1))
def test_the_interval_of_identical_differences_covers_95_percent(difference, otherwise, personas, share):
    """A share of all personas differs otherwise: where the true mean is outside, a sample without one of them has a chance below 0.05."""
    low, high = t_interval(np.full(personas, difference)) or (0.0, 0.0)
    assert -1 <= low <= difference <= high <= 1
    truth = (1 - share) * difference + share * otherwise
    if not low - 1e-9 <= truth <= high + 1e-9:
        assert (1 - share) ** personas < 0.05 + 1e-9


def test_without_spread_there_is_a_reason_instead_of_a_figure():
    for equal in (np.zeros(4), np.full(4, 0.3)):
        assert (t_interval(equal[:1]), bootstrap_interval(equal, 100), paired_t(equal).t) == (None, None, None)
        assert effect_size(equal).dz is None
        assert "differ by the same" in (effect_size(equal).reason or "")
    nearly = effect_size(np.array([0.3, 0.3, 0.3 + 1e-12]))
    assert nearly.interval is None
    assert nearly.dz is not None
    assert math.isfinite(nearly.dz)
    two = effect_size(np.array([0.1, 0.3]))
    assert two.hedges_g is None
    assert "three personas" in (two.reason or "")


# --- families, pass rates, safety -----------------------------------------------------------------------------------


def test_holm_matches_a_calculation_by_hand():
    # smallest first: 4 × 0.005, 3 × 0.01, 2 × 0.03, and 0.04, which may not be below the one before it
    assert holm({"a": 0.01, "b": 0.04, "c": 0.03, "d": 0.005}) == pytest.approx({"a": 0.03, "b": 0.06, "c": 0.06, "d": 0.02})
    assert holm({}) == {}


@given(st.dictionaries(st.text(max_size=3), st.floats(0, 1), max_size=8))
def test_holm_never_lowers_a_p_value_or_exceeds_bonferroni(p_values):
    found = holm(p_values)
    assert list(found) == list(p_values)
    assert all(p_values[name] <= p <= max(1e-300, min(1.0, len(p_values) * max(p_values.values()))) + 1e-12 for name, p in found.items())
    assert all(p <= 1 for p in found.values())


def test_mcnemars_exact_p_matches_the_binomial():
    # Armitage & Berry, Statistical Methods in Medical Research: 12 and 2 of 50 specimens on one medium alone
    assert mcnemar_p(12, 2) == pytest.approx(0.0129, abs=5e-5)
    assert mcnemar_p(0, 0) == 1.0
    assert mcnemar_p(3, 3) == 1.0


def test_without_a_failure_the_bound_follows_the_rule_of_three():
    assert rate_bound(0, 0, (100, 100)) == pytest.approx(3 / 100, rel=0.02)
    assert rate_bound(0, 0, (59, 59)) < 0.05 < rate_bound(0, 0, (58, 58))
    assert units_for(0.05) == 59


@pytest.mark.parametrize("failed", [0, 1, 7, 20])
def test_if_the_base_never_fails_the_bound_is_the_exact_limit_of_the_arms_rate(failed):
    exact = stats.binomtest(failed, 20).proportion_ci(0.9, "exact").high
    assert rate_bound(failed / 20, 0, (20, 20)) == pytest.approx(exact)


def test_if_the_base_fails_its_uncertainty_widens_the_bound():
    upper = stats.binomtest(3, 20).proportion_ci(0.9, "exact").high
    lower = stats.binomtest(2, 30).proportion_ci(0.9, "exact").low
    assert rate_bound(3 / 20, 2 / 30, (20, 30)) == pytest.approx(3 / 20 - 2 / 30 + math.sqrt((upper - 3 / 20) ** 2 + (2 / 30 - lower) ** 2))


@given(st.integers(0, 12), st.integers(0, 12), st.integers(1, 5))
def test_a_bound_exceeds_the_observed_difference_and_falls_with_more_personas(arm, base, times):
    bound = rate_bound(arm / 12, base / 12, (12, 12))
    assert (arm - base) / 12 <= bound <= 1
    assert rate_bound(arm / 12, base / 12, (12 * times, 12 * times)) <= bound + 1e-9
    if arm < 12:
        assert rate_bound((arm + 1) / 12, base / 12, (12, 12)) >= bound - 1e-9


def test_no_number_of_personas_can_show_a_margin_of_zero():
    assert units_for(0) is None
    assert units_for(1) == 1


@given(st.lists(st.tuples(st.floats(0.3, 0.9), st.floats(-0.2, 0.3)), min_size=3, max_size=12))
def test_a_relative_interval_ends_at_the_gains_that_a_paired_t_test_just_accepts(rows):
    base, arm = np.array([one for one, _ in rows]), np.array([one + gain for one, gain in rows])
    assume(np.ptp(np.round(arm - base, 12)) > 0)
    interval = relative_interval(base, arm)
    assume(interval)
    for end in interval or ():
        left = arm - (1 + end) * base
        assume(np.ptp(left) > 1e-6)
        found = stats.ttest_1samp(left, 0).pvalue
        assert found == pytest.approx(0.05, abs=1e-4) or (end == -1 and found > 0.05)  # where it is cut, more would not be refused


def test_no_relative_interval_goes_below_minus_100_percent():
    interval = relative_interval(np.full(5, 0.1), np.full(5, 0.15))
    assert interval is not None
    assert interval[0] == -1


@pytest.mark.parametrize(
    ("share", "said"),
    [
        (0.0, "0 %"),
        (0.0037, "0.4 %"),
        (0.00004, "0.004 %"),
        (0.5, "50 %"),
        (0.996, "99.6 %"),
        (1.0, "100 %"),
        (1 - 1e-15, "100 %"),
        (-0.0, "0 %"),
        (-0.998, "-99.8 %"),
    ],
)
def test_shares_near_0_and_1_are_not_rounded_to_0_or_100_percent(share, said):
    assert format_share(share) == said


@pytest.mark.parametrize(
    ("value", "limit", "said"),
    [
        (0.1234, 0, "+0.123"),
        (-0.0003, 0, "-0.0003"),
        (0.0001, 0, "+0.0001"),
        (-0.0, 0, "+0.000"),
        (-1e-12, 0, "+0.000"),
        (0.0999, 0.1, "+0.0999"),
        (0.1, 0.1, "+0.100"),
    ],
)
def test_a_rounded_number_stays_on_the_same_side_of_its_limit(value, limit, said):
    assert format_beside(value, 3, limit, "+") == said


def test_a_relative_gain_over_a_zero_or_uncertain_base_has_no_interval():
    assert relative_interval(np.zeros(4), np.array([0.1, 0.2, 0.3, 0.4])) is None
    assert relative_interval(np.array([0.0, 0.0, 0.0, 1.0]), np.array([0.5, 0.6, 0.5, 0.6])) is None
