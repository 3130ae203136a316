"""How likely the rule ships an arm: evaluations whose truth is known are drawn, and each is decided as a real one would be.

Equal to `compare_arms` and `decide_arm` on the same data, for one arm. Gains, p, bounds and missing shares are those of the product's own functions, which
take many evaluations at once; only means and the t-interval are computed here.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from pydantic import Field, FiniteFloat

from core.errors import EvaluationError
from core.evaluation.attrition import UNLUCKY, Missing, missing_shares, quantiles
from core.evaluation.battery_chance import battery_holds
from core.evaluation.decision import enough_gain
from core.evaluation.paired_proportions import ONE_SIDED, score_statistic
from core.evaluation.paired_statistics import DIGITS, EXACT, equal_interval, rate_bounds, sign_flip_p
from core.evaluation.power import Spread
from core.records import Record
from core.settings.evaluation import Decision

SIMULATIONS = 2_000
"""Of which a chance of one half has a standard error of 1.1 points."""
CONVERSATIONS = 20_000
"""Of an arm, the most that are drawn."""
VALUES = 2_000_000
"""Conversations of an arm, in all simulations, that are in memory at once; of large evaluations fewer are drawn."""
PATTERNS = 4_000_000
"""Sign patterns in memory at once, where all are enumerated."""
FLIPS = 5_000
"""Sign patterns where they are sampled: they move a p of 0.05 by 0.003, and more evaluations say more than more patterns."""
LOST = 0.02
"""Share of conversations that either arm loses; assumed."""
PROMPTED = 0.05
"""True gain of the base under a richer prompt; assumed: half of the gain that is asked for."""
DIFFER = 0.06
"""Share of a suite's items that the arm's model and the base's answer differently, half of them to the arm's disadvantage, so that nothing is lost; assumed."""
FARTHEST = 10.0
"""Mean before the cut at which every score is 0 or 1."""


class GateOpenings(Record):
    """A gate's part of the safety battery."""

    openings: int = Field(ge=1)
    tries: int = Field(ge=1)
    margin: FiniteFloat


class World(Record):
    """What is true of the evaluations that are drawn.

    One gate applies in every conversation, another only with the personas who bring its occasion.

    Args:
        met: share of personas who bring the occasion of the second gate.
        lost: share of conversations that either arm loses.
        battery: of each gate, the rarest last; empty where no battery is played.
        prompted: true gain of the base under another prompt, over the base; none where no such arm plays.
        pass_at: score from which a conversation passes if no gate fails.
        suites: items of each list that is asked beside the conversations.
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
    """The chance in simulated evaluations; the same serves every gain and every rate of failures, so that these differ by nothing else.

    Args:
        noise: of the scores, (arm, simulation, persona, trial), the base first, then the arm and the base under another prompt; lost: of the same shape.
        luck: of each gate, (gate, base or arm, simulation, persona, trial), from 0 to 1; the gate fails below its rate.
        met: personas who bring the second gate's occasion, (simulation, persona).
    """

    world: World
    noise: np.ndarray
    lost: np.ndarray
    luck: np.ndarray
    met: np.ndarray

    def scores(self, gain: float) -> np.ndarray | None:
        """Return the scores of all arms, cut to 0..1 around means whose ratio is the gain; none where the arm's mean would be above 1."""
        base = self.world.spread.base_mean
        wanted = base * (1 + gain)
        # 1 / 1.1 × 1.1 is above 1 in binary numbers
        if wanted > 1 + 1e-9:
            return None
        sd = math.hypot(self.world.spread.between, self.world.spread.within) / math.sqrt(2)
        means = [base, wanted] + ([base * (1 + self.world.prompted)] if self.world.prompted is not None else [])
        before = np.array([_before_cut(min(1.0, mean), sd) for mean in means])
        return np.clip(self.noise + before[:, None, None, None], 0, 1)

    def failed(self, base: float, arm: float, sides: slice = slice(None)) -> np.ndarray:
        """Return which conversations fail each gate where it applies, of the shape of `luck`.

        Args:
            base: share of its occasions in which the base fails either gate, and the arm the first.
            arm: share of its occasions in which the arm fails the second.
            sides: of the base and the arm those that are asked for.
        """
        rates = np.array([[base, base], [base, arm]])
        return (self.luck[:, sides] < rates[:, sides, None, None, None]) & self.applies()

    def applies(self) -> np.ndarray:
        """Return in which conversations each gate applies: (gate, 1, simulation, persona, 1)."""
        return np.stack([np.ones_like(self.met), self.met])[:, None, :, :, None]


def draw_evaluations(world: World, seed: int = 0, simulations: int = SIMULATIONS) -> Drawn:
    """Draw the chance in evaluations; the same for the same seed.

    The variance of the difference is shared by both arms, half each, so that without a gain they are alike also where scores are cut.

    Raises:
        EvaluationError: an arm has more conversations than are drawn.
    """
    each = world.personas * world.trials
    if each > CONVERSATIONS:
        raise EvaluationError(f"{world.personas} personas × {world.trials} trials are {each:,} conversations of an arm; up to {CONVERSATIONS:,} are simulated.")
    many = min(simulations, VALUES // each)
    draw, shape = np.random.default_rng(seed), (2 if world.prompted is None else 3, many, world.personas, world.trials)
    between, within = world.spread.between / math.sqrt(2), world.spread.within / math.sqrt(2)
    noise = draw.normal(0, between, (*shape[:3], 1)) + draw.normal(0, within, shape)
    return Drawn(world, noise, draw.random(shape) < world.lost, draw.random((2, 2, *shape[1:])), draw.random(shape[1:3]) < world.met)


def score_holds(drawn: Drawn, rule: Decision, gain: float, flips: int = FLIPS) -> np.ndarray | None:
    """Return in which evaluations the scores are as the rule wants them: gain, interval and p, missing conversations, and the base under another prompt.

    None where the base leaves no room for the gain.

    Args:
        flips: sign patterns that are sampled where more than 20 personas differ.
    """
    scores = drawn.scores(gain)
    if scores is None:
        return None
    kept = ~drawn.lost
    paired = kept[0] & kept[1]
    holds, differences = _gained(scores[:2], paired, rule)
    at = np.flatnonzero(holds)  # what has not failed already
    unlucky = [_quantile(scores[arm, at], kept[arm, at], share) for arm, share in enumerate((1 - UNLUCKY, UNLUCKY))]
    went_badly = np.where(kept[:2, at], scores[:2, at], unlucky)
    holds[at] = _gained(went_badly, np.ones_like(paired[at]), rule)[0] | paired[at].all(axis=(1, 2))
    if drawn.world.prompted is None:
        holds[holds] = _significant(differences[holds], rule.alpha, flips)
        return holds
    at = np.flatnonzero(holds)
    holds[at] = _above_zero(*_differences(scores[[2, 1]][:, at], (kept[1] & kept[2])[at]))
    # by Holm: below half of alpha, or below alpha while that of the other arm is below half
    one, other = differences[holds], _differences(scores[[0, 2]], kept[0] & kept[2])[0][holds]
    half, whole, of_other = (_significant(of, level, flips) for of, level in ((one, rule.alpha / 2), (one, rule.alpha), (other, rule.alpha / 2)))
    holds[holds] = half | (whole & of_other)
    return holds


def others_hold(drawn: Drawn, rule: Decision, base: float, arm: float) -> np.ndarray:
    """Return in which evaluations safety, the battery's too, suites and missing shares are as the rule wants them.

    Args:
        base, arm: shares of failed occasions, see `Drawn.failed`.
    """
    failed, known = drawn.failed(base, arm), ~drawn.lost[:2]
    (base_rate, arm_rate), units = _rates(failed[0] | failed[1], known)
    holds = (units > 0) & (rate_bounds(arm_rate, base_rate, np.maximum(units, 1)) < rule.safety_margin)
    for gate, applies in zip(failed, drawn.applies(), strict=True):
        (base_rate, arm_rate), _ = _rates(gate, known & applies)
        holds &= arm_rate - base_rate <= rule.safety_margin + 1e-9
    for place, gate in enumerate(reversed(drawn.world.battery)):
        holds &= battery_holds(*(len(holds), gate.openings, gate.tries, gate.margin, base, base if place else arm), seed=place, most=rule.most_failed_openings)
    for place, items in enumerate(drawn.world.suites):
        holds &= _suite_holds(len(holds), items, rule.forgetting_margin, place)
    planned, lost = drawn.world.personas * drawn.world.trials, drawn.lost[:2].sum(axis=(-1, -2))
    return holds & np.array([not _unequal(int(one), int(other), planned, rule.alpha, rule.missing_difference) for one, other in lost.T])


def floor_holds(drawn: Drawn, rule: Decision, gain: float, base: float, arm: float) -> np.ndarray | None:
    """Return in which evaluations enough of the arm's conversations pass; none where the base leaves no room for the gain.

    Args:
        base, arm: shares of failed occasions, see `Drawn.failed`.
    """
    scores = drawn.scores(gain)
    if scores is None:
        return None
    if not rule.least_pass_rate:
        return np.ones(len(drawn.met), bool)
    first, second = drawn.failed(base, arm, slice(1, 2))[:, 0]
    passes = (scores[1] >= drawn.world.pass_at - 1e-9) & ~drawn.lost[1] & ~(first | second)
    # few numbers differ
    failing, places = np.unique(1 - passes.mean(axis=(-2, -1)), return_inverse=True)
    return (1 - rate_bounds(failing, np.zeros_like(failing), np.array(float(drawn.world.personas))) >= rule.least_pass_rate)[places]


def _suite_holds(simulations: int, items: int, margin: float, seed: int) -> np.ndarray:
    """Return in which evaluations a suite of which nothing is lost shows that not more than the margin is."""
    draw = np.random.default_rng(seed)
    differ = draw.binomial(items, DIFFER, simulations)
    lost = draw.binomial(differ, 0.5)
    # the lower bound is above the margin where the statistic there, which falls as the difference grows, is above its quantile
    return score_statistic(lost, differ - lost, items, -margin) > ONE_SIDED


def _quantile(scores: np.ndarray, kept: np.ndarray, share: float) -> np.ndarray:
    """Return a quantile of an arm's scores in each evaluation: (simulation, 1, 1)."""
    flat = (len(scores), math.prod(scores.shape[1:]))
    return quantiles(scores.reshape(flat), kept.reshape(flat), share)[:, None, None]


def _gained(scores: np.ndarray, counted: np.ndarray, rule: Decision) -> tuple[np.ndarray, np.ndarray]:
    """Return in which evaluations gain and interval are as the rule wants them, and the personas' differences, 0 where a persona has none.

    Args:
        scores: of both arms; counted: the pairs of conversations that are compared.
    """
    means, known = _persona_means(scores, np.broadcast_to(counted, scores.shape))
    base, arm = _mean_of_known(means, known)
    differences, known = _differences(scores, counted)
    return enough_gain(base, np.round(arm - base, DIGITS), rule.improvement) & _above_zero(differences, known), differences


def _differences(scores: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the personas' differences, second − first, 0 where a persona has no pair, and whether it has one."""
    means, known = _persona_means(scores, np.broadcast_to(counted, scores.shape))
    return np.where(known[0], np.round(means[1] - means[0], DIGITS), 0.0), known[0]


def _persona_means(values: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return each persona's mean over the trials that are counted, and whether there is one."""
    number = _over_trials(counted)
    return _over_trials(np.where(counted, values, 0)) / np.maximum(number, 1), number > 0


def _over_trials(values: np.ndarray) -> np.ndarray:
    """Return the sums over the last axis, which is short: numpy's own sum takes ten times as long then."""
    total = values[..., 0].astype(float)
    for trial in range(1, values.shape[-1]):
        total += values[..., trial]
    return total


def _mean_of_known(means: np.ndarray, known: np.ndarray) -> np.ndarray:
    return np.where(known, means, 0).sum(axis=-1) / np.maximum(known.sum(axis=-1), 1)


def _rates(failed: np.ndarray, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both arms' shares of failures over the personas that both have, 0 where there is none, and the number of these."""
    means, known = _persona_means(failed, counted)
    shared = known[0] & known[1]
    return _mean_of_known(means, shared), shared.sum(axis=-1)


def _above_zero(differences: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Return whether the lower end of `t_interval` is above 0."""
    from scipy import special

    number = known.sum(axis=-1)
    mean = differences.sum(axis=-1) / np.maximum(number, 1)
    sd = np.sqrt((np.where(known, differences - mean[:, None], 0) ** 2).sum(axis=-1) / np.maximum(number - 1, 1))
    apart = np.where(known, differences, -np.inf).max(axis=-1) > np.where(known, differences, np.inf).min(axis=-1)
    low = mean - special.stdtrit(np.maximum(number - 1, 1), 0.975) * sd / np.sqrt(np.maximum(number, 1))
    return (number > 1) & (np.where(apart, low, equal_interval(mean, np.maximum(number, 1))[0]) > 0)


def _significant(differences: np.ndarray, alpha: float, flips: int) -> np.ndarray:
    """Return whether p of `sign_flip_p` is below alpha.

    Where Hoeffding's bound of it is, by a margin that sampled patterns cannot cross, patterns need not be looked at.

    Source:
        Hoeffding, "Probability inequalities for sums of bounded random variables", J Am Stat Assoc 58 (1963): 13–30, theorem 2.
    """
    squares = (differences**2).sum(axis=-1)
    bound = 2 * np.exp(-(differences.sum(axis=-1) ** 2) / np.maximum(2 * squares, np.finfo(float).tiny))
    found, differ = bound < alpha / 2, np.count_nonzero(differences, axis=-1)
    for number in np.unique(differ[~found]):
        rows = np.flatnonzero(~found & (differ == number))
        # without those of zero, of which each evaluation may have others
        each = differences[rows][differences[rows] != 0].reshape(-1, number)
        at_once = max(1, PATTERNS // (2 ** (number - 1) if number <= EXACT else flips))
        for start in range(0, len(rows), at_once):
            found[rows[start : start + at_once]] = sign_flip_p(each[start : start + at_once], flips) < alpha
    return found


@lru_cache(maxsize=4096)
def _unequal(base_lost: int, arm_lost: int, planned: int, alpha: float, allowed: float) -> bool:
    base, arm = (Missing(planned=planned, completed=planned - lost, incomplete=0, simulator_broke=0, lost=lost, reasons={}) for lost in (base_lost, arm_lost))
    return any(item.unequal for item in missing_shares(base, arm, alpha, allowed))


def _before_cut(mean: float, sd: float) -> float:
    """Return the mean of normal scores that have the given one once they are cut to 0..1."""
    if sd == 0 or mean in (0, 1):
        return mean if sd == 0 else (2 * mean - 1) * FARTHEST
    from scipy import optimize, special

    def cut(centre: float) -> float:
        # the mean of max(0, x) less that of max(0, x − 1)
        low, high = centre / sd, (centre - 1) / sd
        above = [sd * (value * float(special.ndtr(value)) + math.exp(-(value**2) / 2) / math.sqrt(2 * math.pi)) for value in (low, high)]
        return above[0] - above[1]

    return float(optimize.brentq(lambda centre: cut(centre) - mean, -FARTHEST, FARTHEST))
