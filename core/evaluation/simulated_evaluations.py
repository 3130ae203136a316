"""Simulated evaluations with known true values."""

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field, FiniteFloat

from core.errors import EvaluationError
from core.evaluation.power import Spread
from core.records import Record

SIMULATIONS = 2_000
"""Simulated evaluations; a probability of one half then has a standard error of 1.1 points."""
CONVERSATIONS = 20_000
"""The largest number of an arm's conversations in one simulated evaluation."""
VALUES = 2_000_000
"""Conversations of an arm in memory at once, over all simulations; large evaluations are simulated fewer times."""
LOST = 0.02
"""Share of conversations that each arm loses; assumed."""
PROMPTED = 0.05
"""True relative gain of the base under another prompt; assumed to be half of the required gain."""
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
