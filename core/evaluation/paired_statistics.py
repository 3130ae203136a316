"""Tests, intervals, effect sizes and bounds for paired differences, one per persona.

The persona is the sampling unit, so each has the same weight, however many conversations it had. No function returns NaN or infinity: a figure that cannot
be computed is None. bench/paired_statistics.py measures the coverage of the intervals and the error rates of the tests with 5 to 30 personas.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import FiniteFloat

from core.quantities import format_beside
from core.records import Record

DIGITS = 12
"""Decimal places to which differences are rounded, so that equal differences compare equal."""
EXACT = 20
"""Up to this many personas with a non-zero difference, all 2^n sign patterns are enumerated."""
CHUNK = 10_000
"""Sampled sign patterns in memory at once."""
MAX_T = 100.0
"""Absolute t above which the noncentral t is not computed, because the differences are nearly equal."""

MIN_P = 0.0001
"""A smaller p is shown as "< 0.0001"."""

Interval = tuple[FiniteFloat, FiniteFloat]
"""Lower and upper end."""


class PairedT(Record):
    """A paired t-test; t and p are None if all differences are equal, or there is only one.

    Args:
        n: number of differences.
        p: two-sided.
    """

    n: int
    t: FiniteFloat | None
    p: FiniteFloat | None


class EffectSize(Record):
    """The standardised paired difference: in standard deviations of the personas' differences, which shrink as each persona has more trials.

    Args:
        dz: mean difference divided by the standard deviation of the differences.
        hedges_g: dz corrected for small-sample bias; needs three personas.
        interval: 95 % interval of the true effect.
        reason: why a figure is None.
    """

    dz: FiniteFloat | None
    hedges_g: FiniteFloat | None
    interval: Interval | None
    reason: str | None = None


def format_p(value: float, equals: str = "= ", limit: float = 0.0) -> str:
    """Return the text that follows the letter p, such as "= 0.0123" or "< 0.0001".

    Args:
        value: the p value.
        equals: text before a value that is shown.
        limit: the significance level that the reader compares it with.
    """
    return f"< {MIN_P}" if value < MIN_P else f"{equals}{format_beside(value, 4, limit)}"


def sign_flip_p(differences: np.ndarray, flips: int, seed: int = 0) -> np.ndarray:
    """Return the two-sided p of the sign-flip permutation test of a mean difference of zero.

    Under the null hypothesis each persona's difference has either sign with equal probability; p is the share of sign patterns whose mean is at least as
    far from zero. It is exact up to `EXACT` personas with a non-zero difference. With more, it is estimated from sampled patterns as
    (reached + 1) / (flips + 1), which is never 0.

    Args:
        differences: (…, personas); each index of the leading axes is a separate data set.
        flips: number of sampled patterns.

    Returns:
        p of each data set, in (0, 1]; 1 if all differences are zero.

    Source:
        Fisher, The Design of Experiments (1935), §21. Phipson & Smyth, "Permutation p-values should never be zero", Stat Appl Genet Mol Biol 9 (2010): 39.
    """
    # a difference of zero has no sign to flip
    differences = differences[..., differences.reshape(-1, differences.shape[-1]).any(axis=0)]
    # sums of the same numbers in another order differ by rounding and would not count as ties
    reach = np.abs(differences.sum(axis=-1)) - 1e-9 * np.abs(differences).sum(axis=-1)
    personas = differences.shape[-1]
    if personas == 0:
        return np.ones(differences.shape[:-1])
    if personas <= EXACT:
        sums = differences[..., :1]  # a pattern and its mirror image are equally far from zero, so the first sign is fixed
        for place in range(1, personas):
            one = differences[..., place : place + 1]
            sums = np.concatenate([sums + one, sums - one], axis=-1)
        return (np.abs(sums) >= reach[..., None]).mean(axis=-1)
    draw, reached = np.random.default_rng(seed), np.zeros(differences.shape[:-1])
    for start in range(0, flips, CHUNK):
        signs = draw.integers(0, 2, size=(personas, min(CHUNK, flips - start)), dtype=np.int8) * 2.0 - 1
        reached += (np.abs(differences @ signs) >= reach[..., None]).sum(axis=-1)
    return (reached + 1) / (flips + 1)


def least_p(differences: np.ndarray, flips: int) -> float:
    """Return the smallest p that the sign-flip test can give for differences of these sizes: 2 / 2^(personas with a non-zero difference)."""
    differ = int(np.count_nonzero(differences))
    return min(1.0, 2.0 ** (1 - differ)) if differ <= EXACT else 1 / (flips + 1)


def personas_for_p(alpha: float) -> int:
    """Return the smallest number of personas with a non-zero difference for which the sign-flip test can give a p below alpha."""
    return max(1, math.floor(1 - math.log2(alpha)) + 1)


def paired_t(differences: np.ndarray) -> PairedT:
    """Return the paired t-test of a mean difference of zero; the units may be personas or conversations."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return PairedT(n=len(differences), t=None, p=None)
    from scipy import stats

    test = stats.ttest_1samp(differences, 0)
    return PairedT(n=len(differences), t=float(test.statistic), p=float(test.pvalue))


def t_interval(differences: np.ndarray) -> Interval | None:
    """Return the 95 % t interval of the mean difference, clipped to −1 to 1, the range of differences of scores or shares; None for a single difference.

    A persona's mean over trials is close enough to normal for nominal coverage with five personas. The percentile bootstrap then covers 83 %, because it
    neither widens for the few degrees of freedom nor corrects the variance (Hesterberg, "What teachers should know about the bootstrap", The American
    Statistician 69 (2015): 371–386). The bootstrap-t also covers, but is 50 % wider with so few personas. If all differences are equal, t is undefined and
    `equal_interval` is used.
    """
    if len(differences) < 2:
        return None
    if np.ptp(differences) == 0:
        low, high = equal_interval(differences[0], len(differences))
        return float(low), float(high)
    from scipy import stats

    interval = stats.ttest_1samp(differences, 0).confidence_interval(0.95)
    return max(-1.0, float(interval.low)), min(1.0, float(interval.high))


def equal_interval(difference: np.ndarray | float, personas: np.ndarray | int) -> tuple[np.ndarray, np.ndarray]:
    """Return the 95 % interval of the mean difference if all personas have the same difference.

    Such data do not show the spread, so nothing is assumed about it. By the rule of three, a share of all personas may differ otherwise, by anything from −1
    to 1: with a larger share, a sample of equal differences would have a probability below 5 %.

    Args:
        difference: the common difference.
        personas: number of personas, at least 1.

    Source:
        Hanley & Lippman-Hand, as in `rate_bound`.
    """
    unlike = 1 - 0.05 ** (1 / np.asarray(personas))
    return (1 - unlike) * difference - unlike, (1 - unlike) * difference + unlike


def relative_interval(base: np.ndarray, arm: np.ndarray) -> Interval | None:
    """Return the 95 % interval of the relative gain, arm mean / base mean − 1, clipped at −1; None if Fieller's interval is unbounded.

    Args:
        base, arm: the personas' means, in the same order.

    Source:
        Fieller, "Some problems in interval estimation", J R Stat Soc B 16 (1954): 175–185, with the covariance of the paired means.
    """
    n = len(base)
    if n < 2 or base.mean() <= 0:
        return None
    if np.ptp(differences := np.round(arm - base, DIGITS)) == 0:
        low, high = equal_interval(differences[0], n)
        return max(-1.0, float(low / base.mean())), float(high / base.mean())
    from scipy import special

    covariance = np.cov(base, arm) / n * float(special.stdtrit(n - 1, 0.975)) ** 2
    a = base.mean() ** 2 - covariance[0, 0]
    b = base.mean() * arm.mean() - covariance[0, 1]
    c = arm.mean() ** 2 - covariance[1, 1]
    discriminant = b**2 - a * c
    if a <= 0 or discriminant < 0:
        return None
    return max(-1.0, float((b - math.sqrt(discriminant)) / a) - 1), float((b + math.sqrt(discriminant)) / a) - 1


def bootstrap_interval(differences: np.ndarray, resamples: int, seed: int = 0) -> Interval | None:
    """Return the 95 % percentile bootstrap interval of the mean difference, resampling personas; None if all differences are equal.

    It is too narrow with fewer than about 30 personas.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    if len(differences) < 2 or np.ptp(differences) == 0:
        return None
    from scipy import stats

    draw = np.random.default_rng(seed)
    interval = stats.bootstrap((differences,), np.mean, n_resamples=resamples, batch=1000, method="percentile", rng=draw).confidence_interval
    return float(interval.low), float(interval.high)


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Adjust the p values of a family of tests, so that the family-wise error rate is at most the nominal one.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat 6 (1979): 65–70.
    """
    adjusted, largest = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        largest = max(largest, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = largest
    return {name: adjusted[name] for name in p_values}


def effect_size(differences: np.ndarray) -> EffectSize:
    """Return dz, Hedges' g and the 95 % interval of the true effect.

    The interval contains the true effects for which the observed t lies between the 2.5th and 97.5th percentiles of the noncentral t distribution.

    Source:
        Hedges, "Distribution theory for Glass's estimator of effect size", J Educ Stat 6 (1981): 107–128. Cumming & Finch, "A primer on the understanding,
        use, and calculation of confidence intervals based on central and noncentral distributions", Educ Psychol Meas 61 (2001): 532–574.
    """
    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return EffectSize(dz=None, hedges_g=None, interval=None, reason="all personas differ by the same, so the effect size is not defined")
    from scipy import special

    dz = float(differences.mean() / differences.std(ddof=1))
    if n == 2:
        return EffectSize(dz=dz, hedges_g=None, interval=_noncentral_t_interval(dz, n), reason="the correction for small samples needs three personas")
    freedom = n - 1
    unbiased = math.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)) * math.sqrt(2 / freedom)
    interval = _noncentral_t_interval(dz, n)
    return EffectSize(dz=dz, hedges_g=unbiased * dz, interval=interval, reason=None if interval else "no interval: the differences are nearly equal")


def _noncentral_t_interval(dz: float, n: int) -> Interval | None:
    from scipy import special

    t = dz * math.sqrt(n)
    if abs(t) > MAX_T:
        return None
    low, high = (float(special.nctdtrinc(n - 1, share, t)) / math.sqrt(n) for share in (0.975, 0.025))
    return low, high


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test, which assumes that the pairs are independent.

    Args:
        gained: discordant pairs in which only the arm passed.
        lost: discordant pairs in which only the base passed.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika 12 (1947): 153–157; exact by
        the binomial distribution.
    """
    if gained + lost == 0:
        return 1.0
    from scipy import stats

    return float(stats.binomtest(gained, gained + lost).pvalue)


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of at least one value, summed exactly, so that it does not depend on their order."""
    return math.fsum(values) / len(values)
