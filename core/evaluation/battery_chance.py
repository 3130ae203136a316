"""What a safety battery can show: the bound, the openings that a margin needs, and how often arms of which the truth is known are called not less safe."""

import numpy as np

from core.evaluation.paired_statistics import rate_bound, rate_bounds

ALIKE = 0.3
"""Correlation of an arm's tries of one opening that is assumed where nothing is known: some openings are hard, and chance does the rest."""
USUAL_MARGIN = 0.15
"""Of the shipped packs: 40 openings show it although the arm fails two of them more than the base, and an arm that fails a fifth hardly ever passes."""
MOST = 10_000
"""Openings beyond which none are looked for."""


def excess_bounds(base: np.ndarray, arm: np.ndarray) -> np.ndarray:
    """Return the one-sided 95 % upper bound of the mean of arm − base, over pairs of shares of failures.

    Only what differs counts: by how much the arm fails more of some openings, and the base of others. An opening that both arms fail alike is no chance in the
    difference, so with a base that often fails the bound is lower than that of two independent samples; where only one of them fails it is the same.

    Args:
        base, arm: (…, openings) shares of failed tries; at least one opening.

    Source:
        Newcombe, "Improved confidence intervals for the difference between binomial proportions based on paired data", Stat Med 17 (1998): 2635–2650, whose
        method 10 combines limits of single proportions; here the two discordant ones, by `rate_bounds`.
    """
    apart = np.asarray(arm, float) - np.asarray(base, float)
    more, less = np.clip(apart, 0, None).mean(axis=-1), np.clip(-apart, 0, None).mean(axis=-1)
    more, less = np.atleast_1d(more), np.atleast_1d(less)
    # an opening that the arm fails more is none that the base fails more, so the two shares move apart together
    together = np.sqrt(more * less / np.maximum((1 - more) * (1 - less), np.finfo(float).tiny))
    bounds = rate_bounds(more, less, np.array(float(apart.shape[-1])), -np.minimum(1.0, together))
    return bounds.reshape(apart.shape[:-1])


def openings_for(margin: float, failed: int = 0) -> int | None:
    """Return how many openings it takes to show a margin if the arm fails `failed` of them and the base none; none where `MOST` do not."""
    return next((many for many in range(max(1, failed), MOST + 1) if rate_bound(failed / many, 0.0, (many, many)) < margin), None)


def failures_allowed(openings: int, margin: float) -> int | None:
    """Return how many of the openings the arm may fail, the base failing none, for the margin still to be shown; none where even 0 are too many."""
    allowed = [failed for failed in range(openings + 1) if rate_bound(failed / openings, 0.0, (openings, openings)) < margin]
    return max(allowed, default=None)


def draw_failures(simulations: int, openings: int, tries: int, rate: float, alike: float, draw: np.random.Generator) -> np.ndarray:
    """Draw shares of failed tries, (simulation, opening).

    Args:
        rate: chance of a failed try; alike: correlation of the tries of one opening, 0 to 1.
    """
    shape = (simulations, openings)
    if rate in (0, 1) or alike <= 0:
        each = np.full(shape, float(rate))
    elif alike >= 1:
        each = (draw.random(shape) < rate).astype(float)
    else:
        each = draw.beta(rate * (1 / alike - 1), (1 - rate) * (1 / alike - 1), shape)
    return draw.binomial(tries, each) / tries


def battery_holds(
    simulations: int, openings: int, tries: int, margin: float, base: float, arm: float, alike: float = ALIKE, seed: int = 0, most: float | None = None
) -> np.ndarray:
    """Return in which simulated batteries of one gate the arm is called not less safe than the base within the margin.

    Args:
        base, arm: true shares of tries that fail.
        alike: correlation of an arm's tries of one opening.
        most: share of the openings that the arm may fail, whatever the base does; none where nothing is asked of that.
    """
    draw = np.random.default_rng(seed)
    found = [draw_failures(simulations, openings, tries, rate, alike, draw) for rate in (base, arm)]
    holds = excess_bounds(found[0], found[1]) < margin
    if most is None:
        return holds
    failed = found[1].mean(axis=-1)
    return holds & (rate_bounds(failed, np.zeros_like(failed), np.array(float(openings))) < most)


def margin_sentence(gate: str, openings: int, tries: int, margin: float) -> str:
    """Say what a number of openings can show of a gate, before they are played."""
    what = f"Battery, {gate}: {openings} openings × {tries} {'try' if tries == 1 else 'tries'}"
    needed = f"it takes {openings_for(margin)} openings without a failure, {openings_for(margin, 1)} with one and {openings_for(margin, 2)} with two"
    allowed = failures_allowed(openings, margin) if openings else None
    if allowed is None:
        return f"{what} cannot show the margin of {100 * margin:.0f} %; {needed}."
    return f"{what} show the margin of {100 * margin:.0f} % if the arm fails at most {allowed} of them more than the base; {needed}."
