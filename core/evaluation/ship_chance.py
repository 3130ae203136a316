"""The probability that the rule ships an arm, by simulation: evaluations with known true values are drawn, and the rule decides each of them.

For one arm the decisions equal those of `compare_arms` and `decide_arm` on the same data. Gains, p, bounds and missing shares come from the same functions,
which accept many evaluations at once; only means and the t interval are computed here.
"""

import math
from functools import lru_cache

import numpy as np

from core.evaluation.attrition import PLAUSIBLE_QUANTILE, Missing, missing_shares, quantiles
from core.evaluation.battery_chance import battery_holds
from core.evaluation.decision import enough_gain
from core.evaluation.failure_rates import rate_bounds
from core.evaluation.paired_proportions import ONE_SIDED, score_statistic
from core.evaluation.paired_statistics import DIGITS, EXACT, equal_interval, sign_flip_p
from core.evaluation.simulated_evaluations import Drawn, GateOpenings
from core.settings.evaluation import Decision

PATTERNS = 4_000_000
"""Sign patterns in memory at once."""
FLIPS = 5_000
"""Sampled sign patterns. Chance moves a p of 0.05 by 0.003, and more simulations add more precision than more patterns."""
DIFFER = 0.06
"""Share of discordant items in a suite, half of them in favour of each model, so that the true loss is 0; assumed."""


def score_holds(drawn: Drawn, rule: Decision, gain: float, flips: int = FLIPS) -> np.ndarray | None:
    """Return in which evaluations the scores meet the rule: gain, interval, p, the plausible worst case, and the gain over the base under another prompt.

    Args:
        drawn: the random draws.
        rule: the conditions.
        gain: true gain as a share of the base's mean.
        flips: sign patterns to sample if more than 20 personas have a difference.

    Returns:
        (simulations,) of bool; None if the gain would bring the mean above 1.
    """
    scores = drawn.scores(gain)
    if scores is None:
        return None
    completed = ~drawn.lost
    paired = completed[0] & completed[1]
    holds, differences = _gained(scores[:2], paired, rule)
    at = np.flatnonzero(holds)  # evaluations that have met all conditions so far
    fill = [_quantile(scores[arm, at], completed[arm, at], share) for arm, share in enumerate((1 - PLAUSIBLE_QUANTILE, PLAUSIBLE_QUANTILE))]
    filled = np.where(completed[:2, at], scores[:2, at], fill)
    holds[at] = _gained(filled, np.ones_like(paired[at]), rule)[0] | paired[at].all(axis=(1, 2))
    if drawn.world.prompted is None:
        holds[holds] = _significant(differences[holds], (rule.alpha,), flips)[0]
        return holds
    at = np.flatnonzero(holds)
    holds[at] = _above_zero(*_differences(scores[[2, 1]][:, at], (completed[1] & completed[2])[at]))
    # Holm with two arms: p below alpha / 2, or below alpha if the prompted base's p is below alpha / 2
    at = np.flatnonzero(holds)
    at_half, at_full = _significant(differences[at], (rule.alpha / 2, rule.alpha), flips)
    holds[at] = at_half
    at = at[at_full & ~at_half]
    prompted = _differences(scores[[0, 2]][:, at], (completed[0] & completed[2])[at])[0]
    holds[at] = _significant(prompted, (rule.alpha / 2,), flips)[0]
    return holds


def others_hold(drawn: Drawn, rule: Decision, base: float, arm: float) -> np.ndarray:
    """Return in which evaluations gates, battery, suites and missing shares meet the rule.

    Args:
        base, arm: failure rates of the gates, as in `Drawn.failed`.
    """
    failed, completed = drawn.failed(base, arm), ~drawn.lost[:2]
    (base_rate, arm_rate), units = _rates(failed[0] | failed[1], completed)
    holds = (units > 0) & (rate_bounds(arm_rate, base_rate, np.maximum(units, 1)) < rule.safety_margin)
    for gate, applies in zip(failed, drawn.applies(), strict=True):
        (base_rate, arm_rate), _ = _rates(gate, completed & applies)
        holds &= arm_rate - base_rate <= rule.safety_margin + 1e-9
    for place, gate in enumerate(reversed(drawn.world.battery)):
        holds &= _battery_holds(len(holds), gate, base, base if place else arm, place, rule.most_failed_openings)
    for place, items in enumerate(drawn.world.suites):
        holds &= _suite_holds(len(holds), items, rule.forgetting_margin, place)
    planned, lost = drawn.world.personas * drawn.world.trials, drawn.lost[:2].sum(axis=(-1, -2))
    return holds & np.array([not _unequal(int(by_base), int(by_arm), planned, rule.alpha, rule.missing_difference) for by_base, by_arm in lost.T])


def floor_holds(drawn: Drawn, rule: Decision, gain: float, base: float, arm: float) -> np.ndarray | None:
    """Return in which evaluations enough of the arm's conversations pass; None if the gain would bring the mean above 1.

    Args:
        base, arm: failure rates of the gates, as in `Drawn.failed`.
    """
    scores = drawn.scores(gain)
    if scores is None:
        return None
    if not rule.least_pass_rate:
        return np.ones(len(drawn.met), bool)
    first, second = drawn.failed(base, arm, slice(1, 2))[:, 0]
    passes = (scores[1] >= drawn.world.pass_at - 1e-9) & ~drawn.lost[1] & ~(first | second)
    # many evaluations have the same share, so each distinct share is bounded once
    failing, places = np.unique(1 - passes.mean(axis=(-2, -1)), return_inverse=True)
    return (1 - rate_bounds(failing, np.zeros_like(failing), np.array(float(drawn.world.personas))) >= rule.least_pass_rate)[places]


@lru_cache(maxsize=64)
def _battery_holds(simulations: int, gate: GateOpenings, base: float, arm: float, seed: int, most: float) -> np.ndarray:
    """Return `battery_holds`, which depends neither on the number of personas nor on the gain."""
    return battery_holds(simulations, gate.openings, gate.tries, gate.margin, base, arm, seed=seed, most=most)


def _suite_holds(simulations: int, items: int, margin: float, seed: int) -> np.ndarray:
    """Return in which evaluations a suite with a true loss of 0 shows that the loss is below the margin."""
    draw = np.random.default_rng(seed)
    differ = draw.binomial(items, DIFFER, simulations)
    lost = draw.binomial(differ, 0.5)
    # the statistic decreases with the difference, so the lower bound is above −margin if the statistic at −margin is above the quantile
    return score_statistic(lost, differ - lost, items, -margin) > ONE_SIDED


def _quantile(scores: np.ndarray, completed: np.ndarray, share: float) -> np.ndarray:
    """Return a quantile of an arm's scores in each evaluation, of shape (simulation, 1, 1)."""
    flat = (len(scores), math.prod(scores.shape[1:]))
    return quantiles(scores.reshape(flat), completed.reshape(flat), share)[:, None, None]


def _gained(scores: np.ndarray, counted: np.ndarray, rule: Decision) -> tuple[np.ndarray, np.ndarray]:
    """Return in which evaluations gain and interval meet the rule, and the personas' differences, 0 for a persona without a pair.

    Args:
        scores: (arm, simulation, persona, trial), the base first.
        counted: (simulation, persona, trial), whether a pair of conversations is compared.
    """
    means, known = _persona_means(scores, np.broadcast_to(counted, scores.shape))
    base, arm = _mean_of_known(means, known)
    differences, known = _differences(scores, counted)
    return enough_gain(base, np.round(arm - base, DIGITS), rule.improvement) & _above_zero(differences, known), differences


def _differences(scores: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the personas' differences, second arm − first, 0 for a persona without a pair, and whether each persona has a pair."""
    means, known = _persona_means(scores, np.broadcast_to(counted, scores.shape))
    return np.where(known[0], np.round(means[1] - means[0], DIGITS), 0.0), known[0]


def _persona_means(values: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each persona's mean over its counted trials, and whether it has any."""
    number = _over_trials(counted)
    return _over_trials(np.where(counted, values, 0)) / np.maximum(number, 1), number > 0


def _over_trials(values: np.ndarray) -> np.ndarray:
    """Return the sums over the last axis; numpy's own sum takes ten times as long if that axis is short."""
    total = values[..., 0].astype(float)
    for trial in range(1, values.shape[-1]):
        total += values[..., trial]
    return total


def _mean_of_known(means: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known, means, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)


def _rates(failed: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both arms' shares of failures over the personas that both have, and the number of these; without any, the shares are 0."""
    means, known = _persona_means(failed, counted)
    shared = known[0] & known[1]
    return _mean_of_known(means, shared), shared.sum(axis=-1)


def _above_zero(differences: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return whether the lower end of `t_interval` is above 0."""
    from scipy import special

    number = known.sum(axis=-1)
    mean = differences.sum(axis=-1) / np.maximum(number, 1)
    sd = np.sqrt((np.where(known, differences - mean[:, None], 0) ** 2).sum(axis=-1) / np.maximum(number - 1, 1))
    unequal = np.where(known, differences, -np.inf).max(axis=-1) > np.where(known, differences, np.inf).min(axis=-1)
    low = mean - special.stdtrit(np.maximum(number - 1, 1), 0.975) * sd / np.sqrt(np.maximum(number, 1))
    return (number > 1) & (np.where(unequal, low, equal_interval(mean, np.maximum(number, 1))[0]) > 0)


def _significant(differences: np.ndarray, levels: tuple[float, ...], flips: int) -> np.ndarray:
    """Return whether `sign_flip_p` is below each level, of shape (level, simulation).

    If Hoeffding's upper bound of p is below half of each level, no patterns are enumerated or sampled: sampling error cannot close that gap.

    Source:
        Hoeffding, "Probability inequalities for sums of bounded random variables", J Am Stat Assoc 58 (1963): 13–30, theorem 2.
    """
    squares = (differences**2).sum(axis=-1)
    bound = 2 * np.exp(-(differences.sum(axis=-1) ** 2) / np.maximum(2 * squares, np.finfo(float).tiny))
    significant, nonzero = np.array([bound < level / 2 for level in levels]), np.count_nonzero(differences, axis=-1)
    unclear = ~significant.all(axis=0)
    for number in np.unique(nonzero[unclear]):
        rows = np.flatnonzero(unclear & (nonzero == number))
        # evaluations with the same number of non-zero differences form an array without the zeros
        values = differences[rows][differences[rows] != 0].reshape(-1, number)
        at_once = max(1, PATTERNS // (2 ** (number - 1) if number <= EXACT else flips))
        for start in range(0, len(rows), at_once):
            p = sign_flip_p(values[start : start + at_once], flips)
            significant[:, rows[start : start + at_once]] |= p < np.array(levels)[:, None]
    return significant


@lru_cache(maxsize=4096)
def _unequal(base_lost: int, arm_lost: int, planned: int, alpha: float, allowed: float) -> bool:
    base, arm = (Missing(planned=planned, completed=planned - lost, incomplete=0, simulator_broke=0, lost=lost, reasons={}) for lost in (base_lost, arm_lost))
    return any(item.unequal for item in missing_shares(base, arm, alpha, allowed))
