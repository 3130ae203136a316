"""The probability that the rule ships an arm, by simulation: evaluations with known true values are drawn, and the rule decides each of them.

For one arm the decisions equal those of `compare_arms` and `decide_arm` on the same data. Gains, p, bounds and missing shares come from the same functions,
which accept many evaluations at once; only means and the t interval are computed here.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydantic import Field, FiniteFloat

from core.errors import EvaluationError
from core.evaluation.attrition import PLAUSIBLE_QUANTILE, Missing, missing_shares, quantiles
from core.evaluation.battery_chance import battery_holds
from core.evaluation.decision import enough_gain
from core.evaluation.paired_proportions import ONE_SIDED, score_statistic
from core.evaluation.paired_statistics import DIGITS, EXACT, equal_interval, rate_bounds, sign_flip_p
from core.evaluation.power import Spread
from core.records import Record
from core.settings.evaluation import Decision

SIMULATIONS = 2_000
"""Simulated evaluations; a probability of one half then has a standard error of 1.1 points."""
CONVERSATIONS = 20_000
"""The largest number of an arm's conversations in one simulated evaluation."""
VALUES = 2_000_000
"""Conversations of an arm in memory at once, over all simulations; large evaluations are simulated fewer times."""
PATTERNS = 4_000_000
"""Sign patterns in memory at once."""
FLIPS = 5_000
"""Sampled sign patterns. Chance moves a p of 0.05 by 0.003, and more simulations add more precision than more patterns."""
LOST = 0.02
"""Share of conversations that each arm loses; assumed."""
PROMPTED = 0.05
"""True relative gain of the base under another prompt; assumed to be half of the required gain."""
DIFFER = 0.06
"""Share of discordant items in a suite, half of them in favour of each model, so that the true loss is 0; assumed."""
MAX_MEAN = 10.0
"""Mean before clipping at which every score is 1; at −10 every score is 0."""


class GateOpenings(Record):
    """A gate's part of the safety battery.

    Args:
        openings: number of openings.
        tries: tries of each opening.
        margin: non-inferiority margin.
    """

    openings: int = Field(ge=1)
    tries: int = Field(ge=1)
    margin: FiniteFloat


class World(Record):
    """The true values of the simulated evaluations.

    One gate applies in every conversation. A second one, the rare gate, applies only with some personas.

    Args:
        spread: spread of the score differences, and the base's mean.
        met: share of personas with whom the rare gate applies.
        lost: share of conversations that each arm loses.
        battery: the battery's part for each gate, the rare gate last; empty if no battery is played.
        prompted: true relative gain of the base under another prompt; None if no such arm plays.
        pass_at: score from which on a conversation passes if no gate fails.
        suites: number of items of each suite that is asked (requests to decline, look-alikes, general prompts).
    """

    spread: Spread
    personas: int = Field(ge=1)
    trials: int = Field(ge=1)
    met: FiniteFloat = Field(default=1.0, ge=0, le=1)
    lost: FiniteFloat = Field(default=LOST, ge=0, lt=1)
    battery: tuple[GateOpenings, ...] = ()
    prompted: FiniteFloat | None = None
    pass_at: FiniteFloat = 0.0
    suites: tuple[int, ...] = ()


@dataclass(frozen=True)
class Drawn:
    """The random draws of simulated evaluations.

    All gains and failure rates use the same draws, so that results differ only by the gain or the rate.

    Args:
        world: the true values.
        noise: noise of the scores, (arm, simulation, persona, trial); the arms are the base, the arm, and the base under another prompt.
        lost: whether a conversation is lost, of the same shape.
        luck: uniform draws from 0 to 1, (gate, base or arm, simulation, persona, trial); a gate fails if its draw is below the failure rate.
        met: whether the rare gate applies with a persona, (simulation, persona).
    """

    world: World
    noise: np.ndarray
    lost: np.ndarray
    luck: np.ndarray
    met: np.ndarray

    def scores(self, gain: float) -> np.ndarray | None:
        """Return the scores of all arms, clipped to 0 to 1, with the arm's true mean above the base's by a relative gain; None if it would be above 1."""
        base = self.world.spread.base_mean
        arm = base * (1 + gain)
        # 1 / 1.1 × 1.1 is above 1 in floating point
        if arm > 1 + 1e-9:
            return None
        sd = math.hypot(self.world.spread.between, self.world.spread.within) / math.sqrt(2)
        means = [base, arm] + ([base * (1 + self.world.prompted)] if self.world.prompted is not None else [])
        unclipped = np.array([_mean_before_clipping(min(1.0, mean), sd) for mean in means])
        return np.clip(self.noise + unclipped[:, None, None, None], 0, 1)

    def failed(self, base: float, arm: float, sides: slice = slice(None)) -> np.ndarray:
        """Return which conversations fail each gate, in the shape of `luck`; a gate that does not apply does not fail.

        Args:
            base: failure rate of both gates for the base, and of the first gate for the arm.
            arm: failure rate of the rare gate for the arm.
            sides: index of the wanted arms; 0 is the base, 1 the arm.
        """
        rates = np.array([[base, base], [base, arm]])
        return (self.luck[:, sides] < rates[:, sides, None, None, None]) & self.applies()

    def applies(self) -> np.ndarray:
        """Return in which conversations each gate applies, of shape (gate, 1, simulation, persona, 1)."""
        return np.stack([np.ones_like(self.met), self.met])[:, None, :, :, None]


def draw_evaluations(world: World, seed: int = 0, simulations: int = SIMULATIONS) -> Drawn:
    """Draw the random numbers of simulated evaluations; the same seed gives the same numbers.

    Each arm has half of the variance of the difference, so that without a gain the arms have the same distribution, also after clipping.

    Raises:
        EvaluationError: an arm has more than `CONVERSATIONS` conversations.
    """
    planned = world.personas * world.trials
    if planned > CONVERSATIONS:
        raise EvaluationError(
            f"{world.personas} personas × {world.trials} trials are {planned:,} conversations of an arm; up to {CONVERSATIONS:,} are simulated."
        )
    number = min(simulations, VALUES // planned)
    draw, shape = np.random.default_rng(seed), (2 if world.prompted is None else 3, number, world.personas, world.trials)
    between, within = world.spread.between / math.sqrt(2), world.spread.within / math.sqrt(2)
    noise = draw.normal(0, between, (*shape[:3], 1)) + draw.normal(0, within, shape)
    return Drawn(world, noise, draw.random(shape) < world.lost, draw.random((2, 2, *shape[1:])), draw.random(shape[1:3]) < world.met)


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


def _mean_before_clipping(mean: float, sd: float) -> float:
    """Return the mean that normal scores must have so that their mean is `mean` after clipping to 0 to 1."""
    if sd == 0 or mean in (0, 1):
        return mean if sd == 0 else (2 * mean - 1) * MAX_MEAN
    from scipy import optimize, special

    def clipped(centre: float) -> float:
        # the mean of max(0, x) minus that of max(0, x − 1)
        low, high = centre / sd, (centre - 1) / sd
        above = [sd * (value * float(special.ndtr(value)) + math.exp(-(value**2) / 2) / math.sqrt(2 * math.pi)) for value in (low, high)]
        return above[0] - above[1]

    return float(optimize.brentq(lambda centre: clipped(centre) - mean, -MAX_MEAN, MAX_MEAN))
