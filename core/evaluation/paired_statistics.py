"""What can be said of differences that come one for each persona: tests, intervals, effect sizes, bounds.

The persona is the unit that was drawn, so each counts once, however many conversations it had. Nothing here gives NaN or infinity: a figure that cannot be
had is None. Measured by bench/paired_statistics.py: how often intervals cover and tests err with 5 to 30 personas.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from pydantic import FiniteFloat

from core.records import Record

DIGITS = 12
"""To which differences are rounded, so that equal ones are equal."""
EXACT = 20
"""Up to this many differing personas, all 2^n sign flips are enumerated."""
CHUNK = 10_000
"""Sampled sign flips in memory at once."""
LARGEST_T = 100.0
"""Beyond it the differences are as good as equal, and the noncentral t is not computed."""

LEAST_P = 0.0001
"""Below this a p is only said to be smaller."""

Interval = tuple[FiniteFloat, FiniteFloat]


class PairedT(Record):
    """A paired t-test; t and p are none where all differences are equal, or there is only one.

    Args:
        n: differences that it rests on.
        p: two-sided.
    """

    n: int
    t: FiniteFloat | None
    p: FiniteFloat | None


class EffectSize(Record):
    """A difference in units of the standard deviation of the personas' differences, which gets smaller the more trials each persona has.

    Args:
        dz: the mean difference divided by it.
        hedges_g: dz without the bias of small samples; needs three personas.
        interval: 95 %, of the true effect that both estimate.
        reason: why something is none.
    """

    dz: FiniteFloat | None
    hedges_g: FiniteFloat | None
    interval: Interval | None
    reason: str | None = None


def format_p(value: float, equals: str = "= ") -> str:
    """Return what stands after the letter p."""
    return f"< {LEAST_P}" if value < LEAST_P else f"{equals}{value:.4f}"


def sign_flip_p(differences: np.ndarray, flips: int, seed: int = 0) -> np.ndarray:
    """Return the two-sided p of the sign-flip permutation test of a mean difference of zero.

    If the arms were alike, each persona's difference could as well have had the other sign; p is the share of sign patterns whose mean is at least as far
    from zero. Exact up to `EXACT` personas that have a difference; beyond, of sampled patterns, as (reached + 1) / (flips + 1), which is never 0.

    Args:
        differences: (…, personas); leading axes are data sets of their own.
        flips: patterns that are sampled.

    Returns:
        p by data set, in (0, 1]; 1 where all differences are zero.

    Source:
        Fisher, The Design of Experiments (1935), §21. Phipson & Smyth, "Permutation p-values should never be zero", Stat Appl Genet Mol Biol 9 (2010): 39.
    """
    # a difference of zero has no sign to flip
    differences = differences[..., differences.reshape(-1, differences.shape[-1]).any(axis=0)]
    # sums of the same numbers in another order differ in the last binary places, and would not be ties
    reach = np.abs(differences.sum(axis=-1)) - 1e-9 * np.abs(differences).sum(axis=-1)
    personas = differences.shape[-1]
    if personas == 0:
        return np.ones(differences.shape[:-1])
    if personas <= EXACT:
        sums = differences[..., :1]  # a pattern and its mirror image are equally far from zero, so the first sign is kept
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
    """Return the least p that the sign flips of these differences can give, whatever their signs: 2 / 2^(personas that have a difference)."""
    differ = int(np.count_nonzero(differences))
    return min(1.0, 2.0 ** (1 - differ)) if differ <= EXACT else 1 / (flips + 1)


def personas_for_p(alpha: float) -> int:
    """Return the fewest personas with a difference for which the sign-flip test can give a p below alpha."""
    return max(1, math.floor(1 - math.log2(alpha)) + 1)


def paired_t(differences: np.ndarray) -> PairedT:
    """Return the paired t-test of a mean difference of zero, over whatever the differences are of."""
    if len(differences) < 2 or np.ptp(differences) == 0:
        return PairedT(n=len(differences), t=None, p=None)
    from scipy import stats

    test = stats.ttest_1samp(differences, 0)
    return PairedT(n=len(differences), t=float(test.statistic), p=float(test.pvalue))


def t_interval(differences: np.ndarray) -> Interval | None:
    """Return the 95 % t-interval of the mean difference, cut at −1 and 1, which no difference of scores or shares can leave; none of a single one.

    Means of a persona's trials are near enough to normal for it to cover what it says with five personas, where the percentile bootstrap covers 83 %, because
    it neither widens for the few degrees of freedom nor corrects the variance (Hesterberg, "What teachers should know about the bootstrap", The American
    Statistician 69 (2015): 371–386). The bootstrap-t covers too, and is half as wide again with so few. Where all are equal there is no t: see
    `equal_interval`.
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
    """Return the 95 % interval of the mean difference where all personas differ by the same.

    Equal differences leave room for a share of personas who differ otherwise, by the rule of three, and these may differ by anything from −1 to 1. It takes
    nothing for granted of the spread, which such data do not show: if more than that share differed, all would have been alike in less than 5 %.

    Args:
        difference: the one of all; personas: at least 1.

    Source:
        Hanley & Lippman-Hand, as in `rate_bound`.
    """
    others = 1 - 0.05 ** (1 / np.asarray(personas))
    return (1 - others) * difference - others, (1 - others) * difference + others


def relative_interval(base: np.ndarray, arm: np.ndarray) -> Interval | None:
    """Return the 95 % interval of the arm's mean over the base's, minus 1, cut at −1, which no mean can fall below; none where it has no end.

    Args:
        base, arm: the personas' means, in the same order.

    Source:
        Fieller, "Some problems in interval estimation", J R Stat Soc B 16 (1954): 175–185, with the covariance of the pairs.
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
    inner = b**2 - a * c
    if a <= 0 or inner < 0:
        return None
    return max(-1.0, float((b - math.sqrt(inner)) / a) - 1), float((b + math.sqrt(inner)) / a) - 1


def bootstrap_interval(differences: np.ndarray, resamples: int, seed: int = 0) -> Interval | None:
    """Return the 95 % percentile interval of the mean over resampled personas, or none if all are equal; too narrow with fewer than about 30.

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
    """Adjust the p values of a family of tests, so that any error in it has the nominal rate.

    Source:
        Holm, "A simple sequentially rejective multiple test procedure", Scand J Stat 6 (1979): 65–70.
    """
    adjusted, most = {}, 0.0
    for place, name in enumerate(sorted(p_values, key=lambda name: p_values[name])):
        most = max(most, min(1.0, (len(p_values) - place) * p_values[name]))
        adjusted[name] = most
    return {name: adjusted[name] for name in p_values}


def effect_size(differences: np.ndarray) -> EffectSize:
    """Return dz, Hedges' g and their interval.

    The interval is of those true effects under which the t that was found lies between the 2.5 and 97.5 percentiles of the noncentral t.

    Source:
        Hedges, "Distribution theory for Glass's estimator of effect size", J Educ Stat 6 (1981): 107–128. Cumming & Finch, "A primer on the understanding,
        use, and calculation of confidence intervals based on central and noncentral distributions", Educ Psychol Meas 61 (2001): 532–574.
    """
    n = len(differences)
    if n < 2 or np.ptp(differences) == 0:
        return EffectSize(dz=None, hedges_g=None, interval=None, reason="all personas differ by the same, so there is no spread to measure the difference by")
    from scipy import special

    dz = float(differences.mean() / differences.std(ddof=1))
    if n == 2:
        return EffectSize(dz=dz, hedges_g=None, interval=_of_noncentral_t(dz, n), reason="the correction for small samples needs three personas")
    freedom = n - 1
    unbiased = math.exp(special.gammaln(freedom / 2) - special.gammaln((freedom - 1) / 2)) * math.sqrt(2 / freedom)
    interval = _of_noncentral_t(dz, n)
    return EffectSize(dz=dz, hedges_g=unbiased * dz, interval=interval, reason=None if interval else "no interval: the differences are nearly equal")


def _of_noncentral_t(dz: float, n: int) -> Interval | None:
    from scipy import special

    t = dz * math.sqrt(n)
    if abs(t) > LARGEST_T:
        return None
    low, high = (float(special.nctdtrinc(n - 1, share, t)) / math.sqrt(n) for share in (0.975, 0.025))
    return low, high


def mcnemar_p(gained: int, lost: int) -> float:
    """Return the exact two-sided p of McNemar's test, which takes the pairs for independent.

    Args:
        gained, lost: pairs in which only the arm, and only the base, has passed.

    Source:
        McNemar, "Note on the sampling error of the difference between correlated proportions or percentages", Psychometrika 12 (1947): 153–157; exact by
        the binomial distribution.
    """
    if gained + lost == 0:
        return 1.0
    from scipy import stats

    return float(stats.binomtest(gained, gained + lost).pvalue)


def rate_bound(arm: float, base: float, units: tuple[float, float]) -> float:
    """Return the one-sided 95 % upper bound of a difference of rates, arm − base; with no failures it is the rule of three of the arm's units.

    The arm's exact upper and the base's exact lower limit, squared and added. With personas as the units it holds however alike a persona's conversations
    are, and gives away something where they are not. A t bound over personas would be smaller after a failure in each arm than after none, and holds in 80 to
    90 % where failures are rare.

    Args:
        arm, base: shares of failures, the mean over units where these are personas.
        units: of the arm and of the base, at least 1.

    Source:
        Zou & Donner, "Construction of confidence limits about effect measures: a general approach", Stat Med 27 (2008): 1693–1702; the limits by Clopper &
        Pearson, Biometrika 26 (1934): 404–413, with clusters for n as in Korn & Graubard, Survey Methodology 24 (1998): 193–201. Hanley &
        Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983): 1743–1745.
    """
    return float(rate_bounds(np.array([arm]), np.array([base]), np.array(units)[:, None])[0])


def rate_bounds(arm: np.ndarray, base: np.ndarray, units: np.ndarray, correlation: np.ndarray | float = 0.0) -> np.ndarray:
    """Return `rate_bound` of many differences.

    Args:
        units: of both arms, or of the arm and the base as two rows.
        correlation: of the two rates.
    """
    from scipy import special

    of_arm, of_base = np.broadcast_to(units, (2, len(arm)))
    upper = np.where(arm >= 1, 1.0, special.betaincinv(arm * of_arm + 1, np.where(arm >= 1, 1.0, (1 - arm) * of_arm), 0.95))
    lower = np.where(base <= 0, 0.0, special.betaincinv(np.where(base <= 0, 1.0, base * of_base), (1 - base) * of_base + 1, 0.05))
    above, below = upper - arm, base - lower
    return np.minimum(1.0, arm - base + np.sqrt(above**2 + below**2 - 2 * correlation * above * below))


def units_for(margin: float) -> int | None:
    """Return how many units without a failure it takes for `rate_bound` to be below a margin; none for a margin of 0."""
    if margin <= 0:
        return None
    return 1 if margin >= 1 else math.floor(math.log(0.05) / math.log1p(-margin)) + 1


def mean_of(values: Sequence[float]) -> float:
    """Return the mean of at least one value, without the rounding that depends on their order."""
    return math.fsum(values) / len(values)
