"""Adjusted p values, McNemar's test, the paired t test and Wilson's interval match statsmodels."""

from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.weightstats import DescrStatsW

from core.evaluation.paired_statistics import holm, mcnemar_p, paired_t
from core.judging.intervals import wilson_interval


@settings(max_examples=25)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_matches_statsmodels(values):
    adjusted = holm({str(number): value for number, value in enumerate(values)})
    with patch("gc.collect"):  # called each time, which takes longer than all else
        expected = multipletests(values, method="holm")[1]
    assert list(adjusted.values()) == pytest.approx(list(expected))


@settings(max_examples=25)
@given(st.integers(0, 200), st.integers(0, 200))
def test_the_exact_mcnemar_test_matches_statsmodels(gained, lost):
    assume(gained + lost)
    expected = mcnemar([[0, gained], [lost, 0]], exact=True).pvalue
    assert mcnemar_p(gained, lost) == pytest.approx(expected)


@settings(max_examples=25)
@given(st.lists(st.integers(-100, 100), min_size=3, max_size=40))
def test_the_paired_t_test_matches_statsmodels(values):
    differences = np.array(values) / 100
    assume(len(set(values)) > 1)
    t, p, _ = DescrStatsW(differences).ttest_mean(0)
    ours = paired_t(differences)
    assert (ours.t, ours.p) == pytest.approx((t, p))


@settings(max_examples=25)
@given(st.integers(1, 500), st.data())
def test_wilsons_interval_matches_statsmodels(n, data):
    successes = data.draw(st.integers(0, n))
    expected = proportion_confint(successes, n, method="wilson")
    assert wilson_interval(successes, n) == pytest.approx(expected, abs=1e-9)
