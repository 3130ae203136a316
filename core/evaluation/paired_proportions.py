"""Shares of the same items in two arms: their difference, and how far it may reach."""

import math

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.paired_statistics import Interval
from core.records import Record

ONE_SIDED = 1.6448536269514722
"""Standard normal quantile of a one-sided 95 % bound."""
TWO_SIDED = 1.959963984540054
"""The same of a 95 % interval."""


class PairedProportions(Record):
    """Items that each arm has or has not (answered right, declined, failed), arm against base.

    Args:
        both, only_base, only_arm, neither: numbers of items.
        difference: the arm's share minus the base's.
        interval: 95 %, two-sided.
        lower_bound, upper_bound: one-sided, 95 % each.
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
        """Items that both arms answered."""
        return self.both + self.only_base + self.only_arm + self.neither

    @property
    def base_share(self) -> float:
        """The base's share."""
        return (self.both + self.only_base) / self.pairs

    @property
    def arm_share(self) -> float:
        """The arm's share."""
        return (self.both + self.only_arm) / self.pairs


def compare_proportions(both: int, only_base: int, only_arm: int, neither: int) -> PairedProportions:
    """Return the difference of two shares of the same items, with Tango's score interval.

    It has a width without a single item in which the arms differ, where Wald's interval has none. Over truths in which each arm alone has up to 30 % of the
    items, the one-sided bounds hold in 95 % on average and in 91 % at the worst (30 to 100 items, by enumeration).

    Args:
        both, only_base, only_arm, neither: numbers of items, at least one in all.

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
    """Return Tango's statistic of the hypothesis that the shares differ by so much; standard normal if they do.

    Args:
        only_base, only_arm: numbers of items, by data set.
        difference: above −1 and below 1.
    """
    half = (2 * pairs - only_arm + only_base) * difference - only_arm - only_base
    product = -only_base * difference * (1 - difference)
    # the likeliest share of items that only the base has, under the hypothesis
    lost = (np.sqrt(np.maximum(half**2 - 8 * pairs * product, 0)) - half) / (4 * pairs)
    variance = pairs * (2 * lost + difference * (1 - difference))
    far = only_arm - only_base - pairs * difference
    # without a variance the data are what the hypothesis says, or impossible under it
    certain = np.where(far > 0, np.inf, np.where(far < 0, -np.inf, 0.0))
    return np.where(variance > 0, far / np.sqrt(np.where(variance > 0, variance, 1)), certain)


def _end(only_base: int, only_arm: int, pairs: int, z: float) -> float:
    """Return the difference at which the statistic, which falls as the difference grows, is z."""
    low, high, counts = -1.0, 1.0, (np.array([only_base]), np.array([only_arm]))
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if float(score_statistic(*counts, pairs, middle)[0]) > z else (low, middle)
    return math.fsum((low, high)) / 2
