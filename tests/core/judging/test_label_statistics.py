"""Shares with valid intervals, stability over repeats, and a pass rate corrected for the judge's errors."""

import numpy as np
import pytest
from scipy import stats

from core.judging.intervals import wilson_interval
from core.judging.label_statistics import batch_rate, flip_rates, resampled, share_of
from core.records import Answer


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998): 857-872, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_match_published_values(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 1000])
def test_wilson_intervals_contain_their_share_and_match_scipy(n):
    for successes in {0, 1, n // 3, n - 1, n}:
        low, high = wilson_interval(successes, n)
        assert 0 <= low <= successes / n <= high <= 1
        expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_an_invalid_share_is_refused(successes, n):
    with pytest.raises(ValueError, match=f"{successes} of {n}"):
        wilson_interval(successes, n)


def test_a_share_of_zero_items_has_a_reason_instead_of_a_value():
    found = share_of(0, 0, few=10, none="nothing was judged")
    assert (found.value, found.interval, found.reason, found.n) == (None, None, "nothing was judged", 0)
    assert "small n (9" in (share_of(3, 9, few=10, none="").warning or "")
    assert share_of(3, 10, few=10, none="").warning is None


def test_the_grouped_bootstrap_matches_the_plain_bootstrap():
    draw = np.random.default_rng(3)
    values = draw.integers(0, 5, 40) / 2  # few distinct values, many ties
    totals = np.stack([values, np.ones(40)], axis=-1)
    found = resampled(totals, lambda sums: sums[..., 0] / sums[..., 1], "", 4000, 0, seed=0)
    plain = np.percentile(values[draw.integers(0, 40, (4000, 40))].mean(axis=1), [2.5, 97.5])
    assert found.value == pytest.approx(values.mean())
    assert found.interval == pytest.approx(tuple(plain), abs=0.05)


def test_resamples_without_a_defined_value_are_left_out():
    totals = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 1.0]])

    def statistic(sums):
        return np.where(sums[..., 1] > 0, sums[..., 0], np.nan)

    found = resampled(totals, statistic, "", 400, 0, seed=0)
    assert found.interval == (5.0, 9.0)  # 1 + 1 + 3 to 3 + 3 + 3; without the 3 it is not defined
    one = resampled(totals, statistic, "", 1, 0, seed=0)
    assert (one.value, one.interval) == (5.0, None)


# --- repeats --------------------------------------------------------------------------------------------------------


def test_flip_rates_match_a_calculation_by_hand():
    answers = {
        "CQ1": {"a": ["YES", "YES", "YES"], "b": ["YES", "NO", "YES"], "c": ["NO", "NO", "NO"], "d": ["YES", "NO", "NA"]},
        "CQ2": {"a": ["YES"] * 3, "b": ["NO"] * 3, "c": ["NA"] * 3, "d": ["YES"] * 3},
    }
    found = flip_rates(answers, 500, few=10)
    # CQ1: b and d of 4 flip; of b's 3 pairs 2 differ, of d's all
    first, second = found.criteria["CQ1"], found.criteria["CQ2"]
    assert (first.share.value, first.share.n) == (2 / 4, 4)
    assert first.share.interval == wilson_interval(2, 4)
    assert first.pairwise.value == pytest.approx((2 / 3 + 1) / 4)
    assert (second.share.value, second.pairwise.value) == (0, 0)
    assert second.share.interval == wilson_interval(0, 4)  # none seen is not none possible
    assert second.pairwise.interval is None
    assert second.pairwise.reason
    assert found.overall.share.value == 2 / 8
    assert found.overall.pairwise.value == pytest.approx((2 / 3 + 1) / 8)
    assert found.overall.share.n == 4  # transcripts, because a transcript's criteria are not independent
    assert "small n (4" in (found.overall.share.warning or "")


def test_a_failed_repeat_is_no_flip_and_single_answers_are_ignored():
    answers = {"CQ1": {"a": ["YES", Answer.ERROR, "YES"], "b": ["YES", None, Answer.ERROR], "c": ["NO", "YES", "ERROR"], "d": []}}
    found = flip_rates(answers, 200, few=0).criteria["CQ1"]
    assert (found.share.value, found.share.n) == (1 / 2, 2)
    assert (found.pairwise.value, found.pairwise.n) == (1 / 2, 2)
    none = flip_rates({"CQ1": {"b": ["YES", None]}}, 200, few=0)
    assert (none.criteria["CQ1"].share.value, none.criteria["CQ1"].share.reason) == (None, "nothing was judged twice")
    assert none.overall.share.value is None
    assert flip_rates({}, 200, few=0).overall.share.value is None


def test_the_pairwise_probability_does_not_depend_on_the_number_of_repeats():
    draw = np.random.default_rng(4)

    def judged(repeats):
        return {"CQ1": {str(name): [("NO", "YES")[int(hit)] for hit in draw.random(repeats) < 0.9] for name in range(3000)}}

    few, many = (flip_rates(judged(repeats), 100, few=0).criteria["CQ1"] for repeats in (2, 5))
    for found in (few, many):
        assert found.pairwise.interval is not None
        assert found.pairwise.value == pytest.approx(2 * 0.9 * 0.1, abs=0.02)
    assert few.share.value == pytest.approx(0.18, abs=0.02)
    assert many.share.value == pytest.approx(1 - 0.9**5 - 0.1**5, abs=0.03)


# --- the pass rate of a batch ---------------------------------------------------------------------------------------


def width(estimate):
    return estimate.interval[1] - estimate.interval[0]


def batch_of(truth, size=96, labelled=30, right=(0.92, 0.80), seed=5):
    """Draw batches of which a person labelled a part: the true rate, the strata by the judge's answers, and those of the labels alone."""
    draw = np.random.default_rng(seed)
    for _ in range(1000):
        good = draw.random(size) < truth
        passed = np.where(good, draw.random(size) < right[0], draw.random(size) >= right[1])
        strata = [(int(one.sum()), int(one[:labelled].sum()), int((one & good)[:labelled].sum())) for one in (passed, ~passed)]
        yield good.mean(), strata, [(size, labelled, int(good[:labelled].sum()))]


def test_each_stratum_counts_by_its_size():
    # of 60 that the judge passes 9 of 10 labelled are good, of 40 that it fails 1 of 5
    assert batch_rate([(60, 10, 9), (40, 5, 1)], few=0).value == pytest.approx((60 * 0.9 + 40 * 0.2) / 100)


def test_a_completely_labelled_stratum_has_no_uncertainty():
    found = batch_rate([(60, 60, 50), (36, 36, 4)], few=30)
    assert (found.value, found.interval, found.warning) == (54 / 96, (54 / 96, 54 / 96), None)
    assert width(batch_rate([(60, 59, 50), (36, 36, 4)], few=30)) == pytest.approx(1 / 96)


@pytest.mark.parametrize("strata", [[(95, 30, 30), (1, 0, 0)], [(96, 1, 0)], [(50, 0, 0), (46, 30, 3)]])
def test_any_labels_give_a_rate_within_its_interval(strata):
    found = batch_rate(strata, few=30)
    assert found.value is not None
    assert found.interval is not None
    assert 0 <= found.interval[0] <= found.value <= found.interval[1] <= 1


def test_an_unlabelled_stratum_adds_its_full_uncertainty():
    found = batch_rate([(50, 50, 50), (50, 0, 0)], few=30)
    assert found.interval == pytest.approx((0.5, 1), abs=0.01)


def test_without_labels_there_is_no_rate():
    assert "label" in (batch_rate([(50, 0, 0), (46, 0, 0)], few=30).reason or "")
    assert batch_rate([(0, 0, 0)], few=30).reason == "nothing was judged"
    assert "small n (12 labels" in (batch_rate([(50, 12, 3)], few=30).warning or "")
    with pytest.raises(ValueError, match="is needed"):
        batch_rate([(5, 6, 3)], few=30)


@pytest.mark.parametrize("truth", [0.5, 0.7, 0.95])
def test_the_interval_covers_the_true_rate_of_the_batch(truth):
    held = []
    for rate, by_judge, alone in batch_of(truth):
        found = batch_rate(by_judge, 0).interval, batch_rate(alone, 0).interval
        held.append([interval is not None and interval[0] <= rate <= interval[1] for interval in found])
    assert np.mean(held, axis=0) == pytest.approx(0.95, abs=0.03)


def test_the_judges_answers_narrow_the_interval_of_the_rate():
    both = [(width(batch_rate(one, 0)), width(batch_rate(own, 0))) for _, one, own in batch_of(0.6)]
    by_judge, alone = np.mean(both, axis=0)
    assert by_judge < 0.9 * alone


def test_labels_chosen_by_the_judges_answer_do_not_bias_the_rate():
    draw = np.random.default_rng(8)
    good = draw.random(4000) < 0.6
    passed = np.where(good, draw.random(4000) < 0.9, draw.random(4000) < 0.2)
    # nearly all that the judge failed, and few of what it passed
    labelled = draw.random(4000) < np.where(passed, 0.1, 0.9)
    strata = [(int(one.sum()), int((one & labelled).sum()), int((one & labelled & good).sum())) for one in (passed, ~passed)]
    assert batch_rate(strata, 0).value == pytest.approx(good.mean(), abs=0.03)
    assert (good & labelled).sum() / labelled.sum() < good.mean() - 0.2
