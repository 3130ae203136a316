"""Intervals of paired proportions match published values and have their coverage over all possible data."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from core.evaluation.paired_proportions import ONE_SIDED, TWO_SIDED, compare_proportions, score_statistic

COUNTS = st.tuples(*[st.integers(min_value=0, max_value=60)] * 4).filter(any)
TRUTHS = [(0.02, 0.02), (0.05, 0.05), (0.1, 0.1), (0.1, 0.03), (0.2, 0.05), (0.0, 0.1), (0.12, 0.02)]
"""Shares of items that only the base has, and only the arm."""


def test_the_paired_interval_matches_published_examples():
    # Cavo et al. 2012, as in Fagerland, Lydersen & Laake, Statistical Analysis of Contingency Tables (2017), chapter 8
    found = compare_proportions(59, 16, 6, 80)
    assert found.interval == pytest.approx((-0.1240, -0.0054), abs=5e-5)
    assert (found.pairs, found.base_share, found.arm_share) == (161, 75 / 161, 65 / 161)


@given(counts=COUNTS)
def test_intervals_contain_the_difference_and_one_sided_bounds_lie_within(counts):
    found = compare_proportions(*counts)
    low, high = found.interval
    assert -1 <= low <= found.lower_bound <= found.difference + 1e-9
    assert found.difference - 1e-9 <= found.upper_bound <= high <= 1
    assert found.arm_share - found.base_share == pytest.approx(found.difference)


@given(counts=COUNTS)
def test_exchanging_the_arms_mirrors_the_interval(counts):
    both, only_base, only_arm, neither = counts
    one, other = compare_proportions(*counts), compare_proportions(both, only_arm, only_base, neither)
    assert one.interval == pytest.approx((-other.interval[1], -other.interval[0]), abs=1e-9)


def test_the_possible_loss_of_identical_arms_shrinks_with_more_items():
    few, many = compare_proportions(12, 0, 0, 0), compare_proportions(100, 0, 0, 0)
    assert few.lower_bound < -0.15 < -0.05 < many.lower_bound < 0


@pytest.mark.parametrize(("lost", "gained"), TRUTHS)
@pytest.mark.parametrize("pairs", [60, 100])
def test_bounds_and_intervals_cover_the_truth(pairs, lost, gained):
    only_base, only_arm = (part.ravel() for part in np.meshgrid(*[np.arange(pairs + 1)] * 2))
    possible = only_base + only_arm <= pairs
    only_base, only_arm = only_base[possible], only_arm[possible]
    chance = stats.multinomial.pmf(np.stack([only_base, only_arm, pairs - only_base - only_arm], axis=-1), pairs, [lost, gained, 1 - lost - gained])
    statistic = score_statistic(only_base, only_arm, pairs, gained - lost)
    assert chance.sum() == pytest.approx(1)
    assert chance[statistic <= ONE_SIDED].sum() > 0.92
    assert chance[np.abs(statistic) <= TWO_SIDED].sum() > 0.93
