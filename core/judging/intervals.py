"""Confidence intervals of shares, without numpy, because the settings load this module."""

import math
from statistics import NormalDist

Z = NormalDist().inv_cdf(0.975)
"""Half the width of a 95 % interval, in standard errors."""


def wilson_interval(successes: float, n: float) -> tuple[float, float]:
    """Return the 95 % score interval of a share.

    Args:
        successes, n: counts, 0 ≤ successes ≤ n and n ≥ 1; for dependent observations, the effective numbers of independent ones, which may be fractions.

    Raises:
        ValueError: the counts are out of these bounds.

    Source:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 22 (1927): 209–212.
    """
    if not 0 <= successes <= n or n < 1:
        raise ValueError(f"{successes} of {n} is not a share: 0 ≤ successes ≤ n and n ≥ 1 are needed.")
    share = successes / n
    centre = share + Z**2 / (2 * n)
    spread = Z * math.sqrt(share * (1 - share) / n + Z**2 / (4 * n**2))
    scale = 1 + Z**2 / n
    # at 0 and n one bound is exactly 0 or 1, which rounding would miss
    return 0.0 if successes == 0 else (centre - spread) / scale, 1.0 if successes == n else (centre + spread) / scale


def difference_interval(one: tuple[int, int], other: tuple[int, int]) -> tuple[float, float]:
    """Return the 95 % interval of the second share minus the first, for independent observations.

    Args:
        one, other: successes and n of each share, as for `wilson_interval`.

    Source:
        Newcombe, "Interval estimation for the difference between independent proportions", Statistics in Medicine 17 (1998): 873–890, method 10.
    """
    (first, second), (low, high), (other_low, other_high) = (part[0] / part[1] for part in (one, other)), wilson_interval(*one), wilson_interval(*other)
    return (
        second - first - math.hypot(second - other_low, high - first),
        second - first + math.hypot(other_high - second, first - low),
    )


def independent_of(share: float, interval: tuple[float, float]) -> float:
    """Return the number of independent observations that gives a Wilson interval.

    The interval's ends are the roots of (1 + z²/n) x² − (2 share + z²/n) x + share². Their product is share² / (1 + z²/n), and the same holds for the
    complements of the ends and the share.
    """
    (low, high), larger = interval, max(share, 1 - share)
    ends = low * high if share >= 0.5 else (1 - low) * (1 - high)
    return Z**2 / (larger**2 / ends - 1)
