"""Power analysis of a planned evaluation: the smallest detectable difference, and the number of personas that a gain needs."""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field, FiniteFloat

from core.errors import EvaluationError
from core.evaluation.outcomes import Trial, by_arm, pair_up, points
from core.records import Record

MAX_PERSONAS = 10_000
"""The largest number of personas that is considered."""
MAX_EFFECT = 10.0
"""Standardised effect above which detection is practically certain."""


class Spread(Record):
    """The spread of paired score differences, and the base's mean.

    Args:
        between: standard deviation between personas of the true difference, arm − base.
        within: standard deviation of a pair's difference around that of its persona.
        base_mean: mean score of the base.
        source: where the figures come from, for the reader.
    """

    between: FiniteFloat = Field(ge=0)
    within: FiniteFloat = Field(ge=0)
    base_mean: FiniteFloat = Field(ge=0, le=1)
    source: str

    def of_mean(self, trials: int) -> float:
        """Return the standard deviation of a persona's mean difference over `trials` trials."""
        return math.sqrt(self.between**2 + self.within**2 / trials)


def assumed_spread(between: float, within: float, base_mean: float) -> Spread:
    """Return a spread that was assumed and not measured."""
    source = f"spread {between:g} between personas and {within:g} within, base at {base_mean:g}: assumed, because there is no pilot"
    return Spread(between=between, within=within, base_mean=base_mean, source=source)


class PowerAnalysis(Record):
    """The power of a planned evaluation.

    Args:
        alpha: two-sided.
        wanted_power: required probability of a significant result.
        sd: standard deviation of a persona's mean difference with the planned trials.
        least_p: the smallest p that the sign-flip test can give with the planned personas.
        smallest_difference: the smallest true difference with the required power; None if no difference has it.
        gain: the hoped-for difference of mean scores.
        gain_power: the power for `gain` with the planned personas; 0 if the base's mean plus the gain is above 1.
        personas_for_gain: personas that `gain` needs for the required power; None if `MAX_PERSONAS` are too few, or the gain is impossible.
    """

    personas: int
    trials: int
    alpha: FiniteFloat
    wanted_power: FiniteFloat
    spread: Spread
    sd: FiniteFloat
    least_p: FiniteFloat
    smallest_difference: FiniteFloat | None
    gain: FiniteFloat
    gain_power: FiniteFloat
    personas_for_gain: int | None


def pilot_spread(played: Sequence[Trial], base: str, arm: str) -> Spread:
    """Estimate the spread from a finished evaluation by moments: the variance of personas' means is between² + within² × the mean of 1 / pairs.

    With one pair per persona the two variances cannot be separated. All variance is then attributed to `between`, and more trials seem not to help.

    Raises:
        EvaluationError: fewer than two personas have a pair.
    """
    conversations = by_arm([item for item in played if item.arm in (base, arm)], base)
    pairs = pair_up(conversations[base], conversations[arm], points)
    numbers = [number for number, _, _ in pairs.personas.values()]
    if len(numbers) < 2:
        raise EvaluationError(f"Personas with a conversation completed by both {base} and {arm}: {len(numbers)}; a pilot needs at least 2. Play more of them.")
    freedom = sum(numbers) - len(numbers)
    means = np.repeat(pairs.differences, numbers)
    within = float(((pairs.each - means) ** 2).sum()) / freedom if freedom else 0.0
    between = max(0.0, float(pairs.differences.var(ddof=1)) - within * float(np.mean([1 / number for number in numbers])))
    from scipy import stats

    times = math.sqrt((len(numbers) - 1) / stats.chi2.ppf(0.025, len(numbers) - 1))
    return Spread(
        between=math.sqrt(between),
        within=math.sqrt(within),
        base_mean=pairs.means[0],
        source=f"spread {math.sqrt(between):.3f} between personas and {math.sqrt(within):.3f} within, from a pilot of {len(numbers)} personas and "
        f"{sum(numbers)} pairs; so few may show one {times:.1f} times too small",
    )


def power_of(difference: float, sd: float, personas: int, alpha: float) -> float:
    """Return the probability that the sign-flip test gives a p below alpha.

    Its p is a multiple of 2 / 2^n. If only the smallest multiple is below alpha, all personas must have the same sign, and the probability of that is exact.
    Otherwise the power is approximated by that of a t-test at the largest multiple below alpha.

    Args:
        difference: the true difference.
        sd: standard deviation of a persona's mean difference.
        personas: at least 1.
        alpha: two-sided.

    Source:
        Hoeffding, "The large-sample power of tests based on permutations of observations", Ann Math Stat 23 (1952): 169–192.
    """
    patterns = 2.0 ** min(personas - 1, 60)
    rejected = math.ceil(alpha * patterns) - 1
    if rejected < 1 or difference == 0 == sd:
        return 0.0
    effect = min(abs(difference) / sd, MAX_EFFECT) if sd > 0 else MAX_EFFECT
    from scipy import special

    if rejected == 1:
        return float(special.ndtr(effect) ** personas + special.ndtr(-effect) ** personas)
    freedom, shift = personas - 1, effect * math.sqrt(personas)
    critical = float(special.stdtrit(freedom, 1 - rejected / patterns / 2))
    if shift > critical + MAX_EFFECT:
        return 1.0
    # significant in the wrong direction; from a shift of 3 on the probability is below one in a million, and scipy returns NaN
    wrong = 1 - special.nctdtr(freedom, -shift, critical) if shift < 3 else 0.0
    return float(1 - special.nctdtr(freedom, shift, critical) + wrong)


def analyse_power(personas: int, trials: int, spread: Spread, alpha: float = 0.05, wanted_power: float = 0.8, gain: float = 0.1) -> PowerAnalysis:
    """Return the power of a planned evaluation.

    Args:
        personas: at least 2, because one persona shows no spread.
        trials: conversations of an arm with each persona, at least 1.
        spread: measured or assumed spread of the differences.
        alpha: two-sided.
        wanted_power: required power, above alpha and below 1.
        gain: hoped-for gain as a share of the base's mean, 0 to 10.

    Raises:
        EvaluationError: a number is out of its range.
    """
    for name, value, low, high in (("personas", personas, 2, MAX_PERSONAS), ("trials", trials, 1, MAX_PERSONAS), ("gain", gain, 0, 10)):
        if not low <= value <= high:
            raise EvaluationError(f"{name} is {value}; {low} to {high} is allowed.")
    if not 0 < alpha < wanted_power < 1:
        raise EvaluationError(f"alpha is {alpha} and the power wanted {wanted_power}; 0 < alpha < power < 1 is needed.")
    sd, difference = spread.of_mean(trials), gain * spread.base_mean
    possible = difference <= 1 - spread.base_mean + 1e-9
    return PowerAnalysis(
        personas=personas,
        trials=trials,
        alpha=alpha,
        wanted_power=wanted_power,
        spread=spread,
        sd=sd,
        least_p=2.0 ** (1 - min(personas, 60)),
        smallest_difference=_smallest(sd, personas, alpha, wanted_power),
        gain=difference,
        gain_power=power_of(difference, sd, personas, alpha) if possible else 0.0,
        personas_for_gain=_personas_for(difference, sd, alpha, wanted_power) if possible else None,
    )


def _smallest(sd: float, personas: int, alpha: float, wanted: float) -> float | None:
    if power_of(MAX_EFFECT, 1.0, personas, alpha) < wanted:
        return None
    if sd == 0:
        return 0.0
    from scipy import optimize

    return float(optimize.brentq(lambda effect: power_of(effect, 1.0, personas, alpha) - wanted, 0.0, MAX_EFFECT)) * sd


def _personas_for(difference: float, sd: float, alpha: float, wanted: float) -> int | None:
    if difference == 0:
        return None
    return next((personas for personas in range(2, MAX_PERSONAS + 1) if power_of(difference, sd, personas, alpha) >= wanted), None)
