"""Shares and their uncertainty: intervals, a judge's stability over repeats, and the pass rate of a batch from labels on a part of it.

A figure that cannot be computed is None, with a reason; it is never NaN, and never a perfect 1 for lack of data. Where transcripts are judged on several
criteria, transcripts are resampled and not verdicts, because the verdicts on one transcript are not independent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from core.judging.intervals import wilson_interval
from core.records import Answer

RESAMPLES = 2000
"""Bootstrap samples behind an interval: from seed to seed its ends move by about 1 % of its width."""
FEW = 30
"""An estimate from fewer transcripts has a warning."""


@dataclass(frozen=True)
class Estimate:
    """A figure and how far it can be trusted.

    Args:
        value: None where it is not defined.
        n: transcripts behind it.
        interval: 95 % interval; None where it cannot be computed.
        reason: why there is no value, or no interval.
        warning: set where n is small.
    """

    value: float | None
    n: int
    interval: tuple[float, float] | None = None
    reason: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class FlipRate:
    """How often a judge's answers differ when it judges the same transcript again.

    Args:
        share: share of the questions judged at least twice that did not get the same answer in all repeats; it grows with the number of repeats.
        pairwise: probability that two judgements of the same question differ; it does not depend on the number of repeats.
    """

    share: Estimate
    pairwise: Estimate


@dataclass(frozen=True)
class FlipRates:
    """Flip rates over all (transcript, criterion), and for each criterion."""

    overall: FlipRate
    criteria: dict[str, FlipRate]


def share_of(successes: int, n: int, few: int, none: str) -> Estimate:
    """Return a share with its Wilson interval.

    Args:
        successes, n: counts, 0 ≤ successes ≤ n.
        few: with a smaller n the estimate has a warning.
        none: the estimate's reason when n is 0.

    Raises:
        ValueError: the counts are not a share.
    """
    if n == 0:
        return Estimate(None, 0, reason=none)
    return Estimate(successes / n, n, wilson_interval(successes, n), warning=_small(n, few))


def resampled(totals: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], undefined: str, resamples: int, few: int, seed: int) -> Estimate:
    """Return a statistic of sums over transcripts, with a 95 % percentile bootstrap interval over transcripts.

    Equal transcripts are drawn together, from a multinomial distribution of their numbers. The result has the same distribution as drawing one by one, and
    thousands of transcripts cost no more. Resamples in which the statistic is not defined are left out. If all others are equal there is no interval,
    because an interval without width would claim certainty.

    Args:
        totals: (transcripts, …), what each transcript adds to the sums; one that adds nothing does not count.
        statistic: maps sums of shape (resamples, *totals.shape[1:]), or (*totals.shape[1:]), to values of shape (resamples,) or (); NaN where not defined.
        undefined: the estimate's reason when the statistic is not defined.
        resamples: bootstrap samples, at least 1.
        few: with fewer transcripts the estimate has a warning.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    rows, estimate = _without_interval(totals, statistic, undefined, few)
    if estimate.value is None:
        return estimate
    distinct, numbers = np.unique(rows, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(rows), numbers / len(rows), size=resamples)
    values = statistic((drawn @ distinct).reshape(resamples, *totals.shape[1:]))
    values = values[~np.isnan(values)]
    if len(values) == 0 or np.ptp(values) < 1e-12:
        return replace(estimate, reason="no interval: all resamples are equal")
    low, high = np.percentile(values, [2.5, 97.5])
    return replace(estimate, interval=(float(low), float(high)))


def reweighted(
    totals: np.ndarray,
    imagined: np.ndarray,
    worth: np.ndarray,
    statistic: Callable[[np.ndarray], np.ndarray],
    undefined: str,
    resamples: int,
    few: int,
    seed: int,
) -> Estimate:
    """Return a statistic of sums over transcripts, with a 95 % interval by the Bayesian bootstrap with imagined transcripts.

    Each transcript gets a random weight (exponential, mean 1), and each imagined one a weight whose mean is its worth. An answer that happens to be absent
    from a small sample is thereby not taken to be impossible. With imagined transcripts of every pair of answers, and 30 real ones, intervals of kappa and
    alpha cover 94 to 99 %, where the percentile bootstrap covers 23 to 96 % (bench/judge_statistics.py).

    Args:
        totals, statistic, undefined, resamples, few: as for `resampled`.
        imagined: (imagined transcripts, …), rows like those of totals.
        worth: (imagined transcripts,), the number of transcripts that each is equivalent to.

    Source:
        Rubin, "The Bayesian bootstrap", Ann Stat 9 (1981): 130–134. Pseudo-counts: Agresti & Coull, The American Statistician 52 (1998): 119–126.
    """
    rows, estimate = _without_interval(totals, statistic, undefined, few)
    if estimate.value is None:
        return estimate
    distinct, numbers = np.unique(rows, axis=0, return_counts=True)
    every = np.concatenate([distinct, imagined.reshape(len(imagined), rows.shape[1])])
    weights = np.random.default_rng(seed).standard_gamma(np.concatenate([numbers, worth]), size=(resamples, len(every)))
    values = statistic((weights @ every).reshape(resamples, *totals.shape[1:]))
    low, high = np.percentile(values[~np.isnan(values)], [2.5, 97.5])
    return replace(estimate, interval=(min(float(low), estimate.value), max(float(high), estimate.value)))


def _without_interval(totals: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], undefined: str, few: int) -> tuple[np.ndarray, Estimate]:
    """Return the transcripts that count, one row each, and the statistic of their sums; arguments as for `resampled`."""
    rows = totals.reshape(len(totals), math.prod(totals.shape[1:]))
    rows = rows[rows.any(axis=1)]
    n = len(rows)
    if n < 2:
        return rows, Estimate(None, n, reason=f"transcripts that have the answers for it: {n}; at least 2 are needed")
    value = float(statistic(rows.sum(axis=0).reshape(totals.shape[1:])))
    if math.isnan(value):
        return rows, Estimate(None, n, reason=undefined, warning=_small(n, few))
    return rows, Estimate(value, n, warning=_small(n, few))


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Return top / bottom, and NaN where bottom is not positive."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def flip_rates(answers: Mapping[str, Mapping[str, Sequence[str | None]]], resamples: int, few: int, seed: int = 0) -> FlipRates:
    """Return how often repeated judgements of the same transcript differ.

    A criterion's share has a Wilson interval, because its transcripts are independent; the other intervals are bootstrapped over transcripts.

    Args:
        answers: by criterion and transcript, the answers of the repeats. ERROR and None are left out, and then each transcript with fewer than two answers.
        resamples: bootstrap samples.
        few: an estimate from fewer transcripts has a warning.

    Source:
        The pairwise probability is 1 − P_i of Fleiss (1971), averaged over i; it is unbiased by Simpson, "Measurement of diversity", Nature 163 (1949): 688.
    """
    transcripts = sorted({name for by_transcript in answers.values() for name in by_transcript})
    totals = np.zeros((len(transcripts), len(answers), 3))
    for column, by_transcript in enumerate(answers.values()):
        for row, name in enumerate(transcripts):
            totals[row, column] = _flips(by_transcript.get(name, ()))

    def rate(counts: np.ndarray, which: int) -> Estimate:
        return resampled(counts, lambda sums: ratio(sums[..., which].sum(axis=-1), sums[..., 2].sum(axis=-1)), "nothing was judged twice", resamples, few, seed)

    criteria = {}
    for column, criterion in enumerate(answers):
        column_totals = totals[:, [column]]
        flipped, judged = (int(column_totals[..., which].sum()) for which in (0, 2))
        criteria[criterion] = FlipRate(share_of(flipped, judged, few, "nothing was judged twice"), rate(column_totals, 1))
    return FlipRates(FlipRate(rate(totals, 0), rate(totals, 1)), criteria)


def batch_rate(strata: Sequence[tuple[int, int, int]], few: int) -> Estimate:
    """Return the share of a batch that a person would pass, by post-stratification from labels on a part of it.

    A stratum's labelled transcripts represent its other transcripts. The number of those others that would pass has a beta-binomial distribution with
    Jeffreys' prior, and the interval is that of the sum over strata. The estimate is therefore about this batch, and the interval has no width if every
    transcript is labelled. In expectation it equals the prediction-powered mean of a yes-or-no answer with the best weight.

    Args:
        strata: for each, the number of transcripts, of labelled ones among them, and of those that the person passed. If the strata are the judge's answers,
            the choice of transcripts to label may depend on these answers.
        few: with fewer labels the estimate has a warning.

    Returns:
        The share, with n the number of transcripts. A stratum without a label counts as half passed, with everything from 0 to 1 in the interval.

    Raises:
        ValueError: a stratum's counts are not 0 ≤ passed ≤ labelled ≤ transcripts.

    Source:
        Holt & Smith, "Post stratification", J R Stat Soc A 142 (1979): 33–46. The distribution: Ericson, "Subjective Bayesian models in sampling finite
        populations", J R Stat Soc B 31 (1969): 195–233. Angelopoulos, Duchi & Zrnic, "PPI++: efficient prediction-powered inference", arXiv 2311.01453.
    """
    if any(not 0 <= passed <= labelled <= size for size, labelled, passed in strata):
        raise ValueError(f"{list(strata)}: 0 ≤ passed ≤ labelled ≤ transcripts is needed.")
    batch, labels = sum(size for size, _, _ in strata), sum(labelled for _, labelled, _ in strata)
    if labels == 0:
        return Estimate(None, batch, reason="nothing was judged" if batch == 0 else "no transcript has both a label and the judge's answer")
    value = sum(size * (passed / labelled if labelled else 0.5) for size, labelled, passed in strata) / batch
    passes, chances = sum(passed for _, _, passed in strata), np.ones(1)
    for size, labelled, passed in strata:
        chances = np.convolve(chances, _beta_binomial(size - labelled, passed + 0.5, labelled - passed + 0.5))
    below = np.cumsum(chances) / chances.sum()
    low, high = ((passes + int(np.searchsorted(below, share))) / batch for share in (0.025, 0.975))
    return Estimate(value, batch, (min(low, value), max(high, value)), warning=_small(labels, few, "labels"))


def _beta_binomial(n: int, a: float, b: float) -> np.ndarray:
    """Return the probability of each number of successes from 0 to n, (n + 1,)."""
    from scipy import special  # noqa: PLC0415  # takes long to load

    k = np.arange(n + 1)
    ways = special.gammaln(n + 1) - special.gammaln(k + 1) - special.gammaln(n - k + 1)
    return np.exp(ways + special.betaln(k + a, n - k + b) - special.betaln(a, b))


def _flips(answers: Sequence[str | None]) -> tuple[float, float, float]:
    """Return whether the answers differ (1 or 0), the share of their pairs that differ, and whether there are at least two (1 or 0)."""
    usable = [answer for answer in answers if answer is not None and answer != Answer.ERROR]
    if len(usable) < 2:
        return 0.0, 0.0, 0.0
    alike = sum(usable.count(answer) - 1 for answer in usable)
    return float(len(set(usable)) > 1), 1 - alike / (len(usable) * (len(usable) - 1)), 1.0


def _small(n: int, few: int, what: str = "transcripts") -> str | None:
    return f"small n ({n} {what}): an indication, no more" if n < few else None
