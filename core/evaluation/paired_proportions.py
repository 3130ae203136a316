"""The difference of two proportions over the same items, with its confidence interval."""

import math

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.paired_statistics import Interval
from core.records import Record

ONE_SIDED = 1.6448536269514722
"""Standard normal quantile of a one-sided 95 % bound."""
TWO_SIDED = 1.959963984540054
"""Standard normal quantile of a two-sided 95 % interval."""


class PairedProportions(Record):
    """A property of items (answered right, declined, failed) in two arms, and the paired difference of its shares.

    Args:
        both, neither: items that have the property in both arms, and in neither.
        only_base, only_arm: discordant items, with the property in one arm only.
        difference: the arm's share minus the base's.
        interval: two-sided 95 % interval of the difference.
        lower_bound, upper_bound: one-sided 95 % bounds of the difference.
    """

    both: int
    only_base: int
    only_arm: int
    neither: int
    difference: FiniteFloat
    interval: Interval
    lower_bound: FiniteFloat
    upper_bound: FiniteFloat

    @property
    def pairs(self) -> int:
        """Number of items, each answered by both arms."""
        return self.both + self.only_base + self.only_arm + self.neither

    @property
    def base_share(self) -> float:
        """Share of the items that have the property in the base."""
        return (self.both + self.only_base) / self.pairs

    @property
    def arm_share(self) -> float:
        """Share of the items that have the property in the arm."""
        return (self.both + self.only_arm) / self.pairs


def compare_proportions(both: int, only_base: int, only_arm: int, neither: int) -> PairedProportions:
    """Return the paired difference of two proportions, with Tango's score interval.

    Unlike Wald's interval, it has a width even without discordant items. For true discordant shares of up to 30 % in each direction, the one-sided bounds
    cover in 95 % on average and in 91 % at worst (30 to 100 items, by enumeration).

    Args:
        both, only_base, only_arm, neither: numbers of items, at least one in total.

    Source:
        Tango, "Equivalence test and confidence interval for the difference in proportions for the paired-sample design", Stat Med 17 (1998): 891–908.
    """
    pairs = both + only_base + only_arm + neither
    difference = (only_arm - only_base) / pairs
    low, high = (_end(only_base, only_arm, pairs, z) for z in (TWO_SIDED, -TWO_SIDED))
    return PairedProportions(
        both=both,
        only_base=only_base,
        only_arm=only_arm,
        neither=neither,
        difference=difference,
        interval=(low, high),
        lower_bound=_end(only_base, only_arm, pairs, ONE_SIDED),
        upper_bound=_end(only_base, only_arm, pairs, -ONE_SIDED),
    )


def score_statistic(only_base: np.ndarray, only_arm: np.ndarray, pairs: int, difference: float) -> np.ndarray:
    """Return Tango's score statistic for a hypothesised difference of the shares; standard normal under the hypothesis.

    Args:
        only_base, only_arm: numbers of discordant items in each data set.
        pairs: items in each data set.
        difference: the hypothesised difference, arm − base; above −1 and below 1.
    """
    half = (2 * pairs - only_arm + only_base) * difference - only_arm - only_base
    product = -only_base * difference * (1 - difference)
    # maximum-likelihood share of items that only the base has, under the hypothesis
    lost = (np.sqrt(np.maximum(half**2 - 8 * pairs * product, 0)) - half) / (4 * pairs)
    variance = pairs * (2 * lost + difference * (1 - difference))
    deviation = only_arm - only_base - pairs * difference
    # with zero variance the data are exactly as the hypothesis says, or impossible under it
    certain = np.where(deviation > 0, np.inf, np.where(deviation < 0, -np.inf, 0.0))
    return np.where(variance > 0, deviation / np.sqrt(np.where(variance > 0, variance, 1)), certain)


def _end(only_base: int, only_arm: int, pairs: int, z: float) -> float:
    """Return the difference at which the statistic is z, by bisection: the statistic decreases with the difference."""
    low, high, counts = -1.0, 1.0, (np.array([only_base]), np.array([only_arm]))
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if float(score_statistic(*counts, pairs, middle)[0]) > z else (low, middle)
    return math.fsum((low, high)) / 2
