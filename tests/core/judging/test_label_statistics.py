"""Shares: intervals that cover the truth, stability over repeats, and a pass rate freed of the judge's errors."""

import numpy as np
import pytest
from scipy import stats

from core.judging.intervals import wilson_interval
from core.judging.label_statistics import flip_rates, resampled, rogan_gladen, share_of
from core.records import Answer


@pytest.mark.parametrize(
    ("successes", "n", "low", "high"),
    # Newcombe, Statistics in Medicine 17 (1998): 857-872, table I, method 3
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_intervals_are_those_published(successes, n, low, high):
    assert wilson_interval(successes, n) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize("n", [1, 2, 7, 40, 1000])
def test_wilson_intervals_hold_their_share_and_are_scipys(n):
    for successes in {0, 1, n // 3, n - 1, n}:
        low, high = wilson_interval(successes, n)
        assert 0 <= low <= successes / n <= high <= 1
        expected = stats.binomtest(successes, n).proportion_ci(method="wilson")
        assert (low, high) == pytest.approx((expected.low, expected.high))


@pytest.mark.parametrize(("successes", "n"), [(0, 0), (-1, 3), (4, 3)])
def test_what_is_no_share_is_refused(successes, n):
    with pytest.raises(ValueError, match=f"{successes} of {n}"):
        wilson_interval(successes, n)


def test_a_share_of_nothing_has_no_value_and_says_why():
    found = share_of(0, 0, few=10, none="nothing was judged")
    assert (found.value, found.interval, found.reason, found.n) == (None, None, "nothing was judged", 0)
    assert "small n (9" in (share_of(3, 9, few=10, none="").warning or "")
    assert share_of(3, 10, few=10, none="").warning is None


def test_drawing_equal_transcripts_together_is_the_plain_bootstrap():
    draw = np.random.default_rng(3)
    values = draw.integers(0, 5, 40) / 2  # few distinct values, many ties
    totals = np.stack([values, np.ones(40)], axis=-1)
    found = resampled(totals, lambda sums: sums[..., 0] / sums[..., 1], "", 4000, 0, seed=0)
    plain = np.percentile(values[draw.integers(0, 40, (4000, 40))].mean(axis=1), [2.5, 97.5])
    assert found.value == pytest.approx(values.mean())
    assert found.interval == pytest.approx(tuple(plain), abs=0.05)


def test_resamples_in_which_nothing_is_defined_are_left_out():
    totals = np.array([[1.0, 0.0], [1.0, 0.0], [3.0, 1.0]])

    def statistic(sums):
        return np.where(sums[..., 1] > 0, sums[..., 0], np.nan)

    found = resampled(totals, statistic, "", 400, 0, seed=0)
    assert found.interval == (5.0, 9.0)  # 1 + 1 + 3 to 3 + 3 + 3; without the 3 it is not defined
    one = resampled(totals, statistic, "", 1, 0, seed=0)
    assert (one.value, one.interval) == (5.0, None)


# --- repeats --------------------------------------------------------------------------------------------------------


def test_flip_rates_by_hand():
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


def test_a_failed_repeat_is_no_flip_and_what_is_left_alone_does_not_count():
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


# --- the corrected pass rate ----------------------------------------------------------------------------------------


def test_the_corrected_rate_is_that_published():
    # brucellosis in epiR's manual: 23 of 150 positive, sensitivity 96 %, specificity 89 %: 5.1 of 100
    found = rogan_gladen(23, 150, 96, 100, 89, 100, few=30)
    assert found.value == pytest.approx((23 / 150 + 0.89 - 1) / (0.96 + 0.89 - 1))
    assert round(found.value or 0, 3) == 0.051
    assert found.n == 150


def test_a_judge_without_errors_needs_no_correction():
    found = rogan_gladen(30, 100, 10**9, 10**9, 10**9, 10**9, few=30)
    assert found.value == pytest.approx(0.3)
    # what is left of the interval is Agresti and Coull's (1998), which has Wilson's centre
    z2 = stats.norm.ppf(0.975) ** 2
    centre, n = (30 + z2 / 2) / (100 + z2), 100 + z2
    half = (z2 * centre * (1 - centre) / n) ** 0.5
    assert found.interval == pytest.approx((centre - half, centre + half), abs=1e-6)


def test_the_interval_is_lang_and_reiczigels():
    # their formula, written out: 60 of 200 passed, 45 of 50 true positives, 24 of 30 true negatives
    z = stats.norm.ppf(0.975)
    p, se, sp = (60 + z**2 / 2) / (200 + z**2), 46 / 52, 25 / 32
    prevalence = (p + sp - 1) / (se + sp - 1)
    variance = p * (1 - p) / (200 + z**2) + prevalence**2 * se * (1 - se) / 52 + (1 - prevalence) ** 2 * sp * (1 - sp) / 32
    shift = 2 * z**2 * (prevalence * se * (1 - se) / 52 - (1 - prevalence) * sp * (1 - sp) / 32)
    assert abs(shift) > 0.01
    half = z * variance**0.5 / (se + sp - 1)
    found = rogan_gladen(60, 200, 45, 50, 24, 30, few=30)
    assert found.interval == pytest.approx((max(0, prevalence + shift - half), prevalence + shift + half))


def test_a_judge_no_better_than_chance_corrects_nothing():
    for counts in [(9, 10, 1, 10), (5, 10, 5, 10), (1, 10, 2, 10)]:
        found = rogan_gladen(50, 100, *counts, few=30)
        assert (found.value, found.interval) == (None, None)
        assert "chance" in (found.reason or "")
    assert rogan_gladen(50, 100, 91, 100, 10, 100, few=30).value is not None


def test_one_side_without_labels_gives_no_rate():
    for counts, reason in [((0, 0, 5, 9), "passed"), ((5, 9, 0, 0), "failed")]:
        found = rogan_gladen(50, 100, *counts, few=30)
        assert found.value is None
        assert reason in (found.reason or "")
    assert rogan_gladen(0, 0, 5, 9, 8, 9, few=30).reason == "nothing was judged"
    with pytest.raises(ValueError, match="no shares"):
        rogan_gladen(5, 4, 5, 9, 8, 9, few=30)


def test_few_labels_are_told_and_may_give_no_interval():
    found = rogan_gladen(90, 100, 1, 1, 20, 100, few=30)
    assert found.value == pytest.approx((0.9 + 0.2 - 1) / (1 + 0.2 - 1))
    assert found.interval is None
    assert "too few labels" in (found.reason or "")
    assert "small n (1 labels" in (found.warning or "")


def test_the_rate_and_its_interval_stay_between_0_and_1():
    for passed in range(0, 21, 4):
        for right in range(6, 11):
            found = rogan_gladen(passed, 20, right, 10, right, 10, few=30)
            assert found.value is not None
            assert found.interval is not None
            assert 0 <= found.interval[0] <= found.interval[1] <= 1
            assert 0 <= found.value <= 1
            assert "small n (10 labels" in (found.warning or "")


@pytest.mark.parametrize(("truth", "sensitivity", "specificity"), [(0.7, 0.9, 0.8), (0.4, 0.85, 0.9), (0.9, 0.95, 0.7)])
def test_the_interval_covers_the_true_pass_rate_about_as_often_as_it_says(truth, sensitivity, specificity):
    draw = np.random.default_rng(5)
    apparent = truth * sensitivity + (1 - truth) * (1 - specificity)
    runs = 2000
    samples = zip(draw.binomial(300, apparent, runs), draw.binomial(80, sensitivity, runs), draw.binomial(60, specificity, runs), strict=True)
    covered = naive = 0
    for passed, true_positives, true_negatives in samples:
        interval = rogan_gladen(int(passed), 300, int(true_positives), 80, int(true_negatives), 60, few=30).interval
        assert interval is not None
        covered += interval[0] <= truth <= interval[1]
        low, high = wilson_interval(int(passed), 300)
        naive += low <= truth <= high
    assert 0.935 <= covered / runs <= 0.985
    assert naive < covered


def test_labels_that_are_among_the_judged_make_the_interval_no_too_narrow():
    draw = np.random.default_rng(6)
    covered, runs = 0, 1000
    for _ in range(runs):
        good = draw.random(200) < 0.7
        passed = np.where(good, draw.random(200) < 0.9, draw.random(200) < 0.2)
        labelled_good, labelled_passed = good[:120], passed[:120]
        found = rogan_gladen(
            int(passed.sum()), 200, int((labelled_good & labelled_passed).sum()), int(labelled_good.sum()),
            int((~labelled_good & ~labelled_passed).sum()), int((~labelled_good).sum()), few=30,
        )  # fmt: skip
        assert found.interval is not None
        covered += found.interval[0] <= 0.7 <= found.interval[1]
    assert covered / runs >= 0.94
