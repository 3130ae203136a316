"""Coefficients of agreement match statsmodels and the package krippendorff."""

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import aggregate_raters, cohens_kappa, fleiss_kappa, to_table

from core.judging.agreement import agreement

LABELS = ["NA", "NO", "YES"]


def panels(judges: int, missing: bool) -> st.SearchStrategy[dict[str, dict[str, str | None]]]:
    """Draw each judge's answers to the same transcripts; some are missing."""
    answer = st.sampled_from([*LABELS, None] if missing else LABELS)
    rows = st.lists(st.lists(answer, min_size=judges, max_size=judges), min_size=4, max_size=40)
    return rows.map(lambda table: {f"t{number}": {f"judge {n}": label for n, label in enumerate(row)} for number, row in enumerate(table)})


def codes(answers):
    """Return a row per transcript and a column per judge; a missing answer is NaN."""
    return np.array([[np.nan if label is None else LABELS.index(label) for label in row.values()] for row in answers.values()])


@settings(max_examples=25)
@given(panels(3, missing=False))
def test_fleiss_kappa_matches_statsmodels(answers):
    table = codes(answers).astype(int)
    assume(len(np.unique(table)) > 1)
    expected = fleiss_kappa(aggregate_raters(table)[0])
    assert agreement(answers, 10, 0).fleiss.value == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25)
@given(panels(2, missing=False))
def test_cohens_kappa_matches_statsmodels(answers):
    table = codes(answers).astype(int)
    assume(len(np.unique(table)) > 1)
    with np.errstate(invalid="ignore"):  # in units of the standard error
        expected = cohens_kappa(to_table(table, 3)[0]).kappa
    (pair,) = agreement(answers, 10, 0).pairs
    assert pair.kappa.value == pytest.approx(expected, abs=1e-9)


@settings(max_examples=25)
@given(panels(3, missing=True))
def test_krippendorffs_alpha_matches_the_krippendorff_package(answers):
    table = codes(answers)
    pairable = table[np.sum(~np.isnan(table), axis=1) > 1]
    assume(len(pairable) > 1)
    assume(len(np.unique(pairable[~np.isnan(pairable)])) > 1)
    expected = krippendorff.alpha(table.T, level_of_measurement="nominal")
    assert agreement(answers, 10, 0).alpha.value == pytest.approx(expected, abs=1e-9)
