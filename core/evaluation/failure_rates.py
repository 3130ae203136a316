"""Bounds of a difference of failure rates."""

import math

import numpy as np


def rate_bound(arm: float, base: float, units: tuple[float, float]) -> float:
    """Return the one-sided upper 95 % bound of a difference of failure rates, arm − base; without failures it is the rule of three for the arm's units.

    It adds to the difference the root of the sum of two squared distances: from the arm's rate to its exact upper limit, and from the base's rate to its exact
    lower limit. With personas as units the coverage does not depend on the correlation of a persona's conversations; the bound is conservative if they are
    independent. A t bound over personas would be smaller with a failure in each arm than with none, and covers in only 80 to 90 % if failures are rare.

    Args:
        arm, base: shares of failures; with personas as units, the means over personas.
        units: number of units of the arm and of the base, each at least 1.

    Source:
        Zou & Donner, "Construction of confidence limits about effect measures: a general approach", Stat Med 27 (2008): 1693–1702; the limits by Clopper &
        Pearson, Biometrika 26 (1934): 404–413, with clusters for n as in Korn & Graubard, Survey Methodology 24 (1998): 193–201. Hanley &
        Lippman-Hand, "If nothing goes wrong, is everything all right?", JAMA 249 (1983): 1743–1745.
    """
    return float(rate_bounds(np.array([arm]), np.array([base]), np.array(units)[:, None])[0])


def rate_bounds(arm: np.ndarray, base: np.ndarray, units: np.ndarray, correlation: np.ndarray | float = 0.0) -> np.ndarray:
    """Return `rate_bound` for each of many differences.

    Args:
        arm, base: (differences,) shares of failures.
        units: number of units, the same for both arms, or the arm's and the base's as two rows.
        correlation: correlation of the two rates.
    """
    from scipy import special

    arm_units, base_units = np.broadcast_to(units, (2, len(arm)))
    upper = np.where(arm >= 1, 1.0, special.betaincinv(arm * arm_units + 1, np.where(arm >= 1, 1.0, (1 - arm) * arm_units), 0.95))
    lower = np.where(base <= 0, 0.0, special.betaincinv(np.where(base <= 0, 1.0, base * base_units), (1 - base) * base_units + 1, 0.05))
    above, below = upper - arm, base - lower
    return np.minimum(1.0, arm - base + np.sqrt(above**2 + below**2 - 2 * correlation * above * below))


def units_for(margin: float) -> int | None:
    """Return the number of units without a failure that brings `rate_bound` below a margin; None for a margin of 0."""
    if margin <= 0:
        return None
    return 1 if margin >= 1 else math.floor(math.log(0.05) / math.log1p(-margin)) + 1
