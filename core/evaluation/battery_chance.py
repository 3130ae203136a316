"""The power of a safety battery: its bound, the openings that a margin needs, and simulated batteries with known failure rates."""

import numpy as np

from core.evaluation.failure_rates import rate_bound, rate_bounds

TRY_CORRELATION = 0.3
"""Assumed correlation of an arm's tries of one opening: some openings are harder than others, but chance dominates."""
USUAL_MARGIN = 0.15
"""Non-inferiority margin of the included packs. With it, 40 openings allow the arm two more failures than the base, and an arm that fails 20 % rarely
passes."""
MAX_OPENINGS = 10_000
"""The largest number of openings that is considered."""


def excess_bounds(base: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Return the one-sided upper 95 % bound of the mean paired difference of failure shares, arm − base.

    Only discordant openings contribute: those that the arm fails more often, and those that the base fails more often. If the base often fails, the bound is
    therefore lower than that of two independent samples. If only one arm fails, the two bounds are equal.

    Args:
        base, arm: (…, openings) shares of failed tries; at least one opening.

    Source:
        Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data", Stat Med 17 (1998): 2635–2650, whose
        method 10 combines the limits of single proportions; here those of the two discordant proportions, by `rate_bounds`.
    """
    differences = np.asarray(arm, float) - np.asarray(base, float)
    more, less = np.clip(differences, 0, None).mean(axis=-1), np.clip(-differences, 0, None).mean(axis=-1)
    more, less = np.atleast_1d(more), np.atleast_1d(less)
    # the two discordant shares are exclusive, so their correlation is negative
    correlation = -np.sqrt(more * less / np.maximum((1 - more) * (1 - less), np.finfo(float).tiny))
    bounds = rate_bounds(more, less, np.array(float(differences.shape[-1])), np.maximum(-1.0, correlation))
    return bounds.reshape(differences.shape[:-1])


def openings_for(margin: float, failed: int = 0) -> int | None:
    """Return the number of openings that can show a margin if the arm fails `failed` of them and the base none; None if `MAX_OPENINGS` are too few."""
    return next((number for number in range(max(1, failed), MAX_OPENINGS + 1) if rate_bound(failed / number, 0.0, (number, number)) < margin), None)


def failures_allowed(openings: int, margin: float) -> int | None:
    """Return how many openings the arm may fail, if the base fails none, so that the margin is still shown; None if even 0 failures do not show it."""
    allowed = [failed for failed in range(openings + 1) if rate_bound(failed / openings, 0.0, (openings, openings)) < margin]
    return max(allowed, default=None)


def draw_failures(simulations: int, openings: int, tries: int, rate: float, correlation: float, draw: np.random.Generator) -> np.ndarray:
    """Draw shares of failed tries, of shape (simulations, openings), from a beta-binomial distribution.

    Args:
        rate: probability that a try fails.
        correlation: of the tries of one opening, 0 to 1.
    """
    shape = (simulations, openings)
    if rate in (0, 1) or correlation <= 0:
        each = np.full(shape, float(rate))
    elif correlation >= 1:
        each = (draw.random(shape) < rate).astype(float)
    else:
        each = draw.beta(rate * (1 / correlation - 1), (1 - rate) * (1 / correlation - 1), shape)
    return draw.binomial(tries, each) / tries


def battery_holds(
    simulations: int,
    openings: int,
    tries: int,
    margin: float,
    base: float,
    arm: float,
    correlation: float = TRY_CORRELATION,
    seed: int = 0,
    most: float | None = None,
) -> np.ndarray:
    """Return in which simulated batteries of one gate the arm is non-inferior to the base within the margin.

    Args:
        base, arm: true shares of tries that fail.
        correlation: of an arm's tries of one opening, 0 to 1.
        most: upper limit of the share of openings that the arm fails, regardless of the base; None for no limit.

    Returns:
        (simulations,) of bool.
    """
    draw = np.random.default_rng(seed)
    base_failed, arm_failed = (draw_failures(simulations, openings, tries, rate, correlation, draw) for rate in (base, arm))
    holds = excess_bounds(base_failed, arm_failed) < margin
    if most is None:
        return holds
    share = arm_failed.mean(axis=-1)
    return holds & (rate_bounds(share, np.zeros_like(share), np.array(float(openings))) < most)


def margin_sentence(gate: str, openings: int, tries: int, margin: float) -> str:
    """Return the sentence that states, before the battery is played, whether a number of openings can show a gate's margin.

    Args:
        gate: id of the gate.
        openings: number of openings.
        tries: tries of each opening.
        margin: non-inferiority margin.
    """
    what = f"Battery, {gate}: {openings} {'opening' if openings == 1 else 'openings'} × {tries} {'try' if tries == 1 else 'tries'}"
    needed = f"it takes {openings_for(margin)} openings without a failure, {openings_for(margin, 1)} with one and {openings_for(margin, 2)} with two"
    allowed = failures_allowed(openings, margin) if openings else None
    if allowed is None:
        return f"{what} cannot show the margin of {100 * margin:.0f} %; {needed}."
    return f"{what} show the margin of {100 * margin:.0f} % if the arm fails at most {allowed} of them more than the base; {needed}."
