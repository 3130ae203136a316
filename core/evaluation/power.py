"""What an evaluation can find before it is paid for: the smallest difference that a number of personas shows, and the personas that a gain needs."""

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field, FiniteFloat

from core.errors import EvaluationError
from core.evaluation.outcomes import Trial, by_arm, pair_up, points
from core.records import Record

MOST = 10_000
"""Personas beyond which none are looked for."""
LARGEST = 10.0
"""In standard deviations: what is farther off is as good as certain."""


class Spread(Record):
    """How much scores vary.

    Args:
        between: standard deviation of the true difference between the arms from persona to persona.
        within: standard deviation of a pair's difference from its persona's.
        base_mean: mean score of the base.
        source: where these come from, in words.
    """

    between: FiniteFloat = Field(ge=0)
    within: FiniteFloat = Field(ge=0)
    base_mean: FiniteFloat = Field(ge=0, le=1)
    source: str

    def of_mean(self, trials: int) -> float:
        """Return the standard deviation of a persona's mean difference over `trials` trials."""
        return math.sqrt(self.between**2 + self.within**2 / trials)


def assumed_spread(between: float, within: float, base_mean: float) -> Spread:
    """Return a spread that nobody has measured."""
    source = f"spread {between:g} between personas and {within:g} within, base at {base_mean:g}: assumed, because there is no pilot"
    return Spread(between=between, within=within, base_mean=base_mean, source=source)


class PowerAnalysis(Record):
    """What a planned evaluation can find.

    Args:
        sd: standard deviation of a persona's mean difference, with the planned trials.
        least_p: of the sign-flip test with the planned personas.
        wanted_power: chance with which a difference is to be found.
        smallest_difference: the smallest true one that is found with that chance; none where no difference is.
        gain: the difference that is hoped for; gain_power: the chance to find it with the planned personas, 0 where the base leaves no room for it.
        personas_for_gain: how many it needs; none where `MOST` are not enough, or there is no room.
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
    """Estimate the spread from a finished evaluation, by moments: the variance of personas' means is between² + within² × the mean of 1 / pairs.

    With one pair for each persona nothing can be said of the variance within: all is then taken for variance between, and more trials seem not to help.

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
    """Return the chance that the sign-flip test gives a p below alpha.

    It can give no other p than multiples of 2 / 2^n. Where only the least of them is below alpha, all personas must have the same sign, and that chance is
    known; else it is that of a t-test at the largest of them that is, which the permutation test is close to.

    Args:
        difference: the true one; sd: of a persona's mean difference.
        personas: at least 1; alpha: two-sided.

    Source:
        Hoeffding, "The large-sample power of tests based on permutations of observations", Ann Math Stat 23 (1952): 169–192.
    """
    patterns = 2.0 ** min(personas - 1, 60)
    rejected = math.ceil(alpha * patterns) - 1
    if rejected < 1 or difference == 0 == sd:
        return 0.0
    # a spread of next to nothing is as good as none
    effect = min(abs(difference) / sd, LARGEST) if sd > 0 else LARGEST
    from scipy import special

    if rejected == 1:
        return float(special.ndtr(effect) ** personas + special.ndtr(-effect) ** personas)
    freedom, shift = personas - 1, effect * math.sqrt(personas)
    critical = float(special.stdtrit(freedom, 1 - rejected / patterns / 2))
    if shift > critical + LARGEST:
        return 1.0
    # significant in the wrong direction: less than one in a million where it is left out, and there scipy gives NaN
    wrong = 1 - special.nctdtr(freedom, -shift, critical) if shift < 3 else 0.0
    return float(1 - special.nctdtr(freedom, shift, critical) + wrong)


def analyse_power(personas: int, trials: int, spread: Spread, alpha: float = 0.05, wanted_power: float = 0.8, gain: float = 0.1) -> PowerAnalysis:
    """Return what a planned evaluation can find.

    Args:
        personas, trials: conversations of an arm are personas × trials; at least 2 and 1, since one persona shows no spread.
        alpha: two-sided; wanted_power: above alpha and below 1.
        gain: what is hoped for, as a share of the base's mean; 0 to 10.

    Raises:
        EvaluationError: a number is out of its range.
    """
    for name, value, low, high in (("personas", personas, 2, MOST), ("trials", trials, 1, MOST), ("gain", gain, 0, 10)):
        if not low <= value <= high:
            raise EvaluationError(f"{name} is {value}; {low} to {high} is allowed.")
    if not 0 < alpha < wanted_power < 1:
        raise EvaluationError(f"alpha is {alpha} and the power wanted {wanted_power}; 0 < alpha < power < 1 is needed.")
    sd, hoped = spread.of_mean(trials), gain * spread.base_mean
    room = hoped <= 1 - spread.base_mean + 1e-9
    return PowerAnalysis(
        personas=personas,
        trials=trials,
        alpha=alpha,
        wanted_power=wanted_power,
        spread=spread,
        sd=sd,
        least_p=2.0 ** (1 - min(personas, 60)),
        smallest_difference=_smallest(sd, personas, alpha, wanted_power),
        gain=hoped,
        gain_power=power_of(hoped, sd, personas, alpha) if room else 0.0,
        personas_for_gain=_personas_for(hoped, sd, alpha, wanted_power) if room else None,
    )


def _smallest(sd: float, personas: int, alpha: float, wanted: float) -> float | None:
    if power_of(LARGEST, 1.0, personas, alpha) < wanted:
        return None
    if sd == 0:
        return 0.0
    from scipy import optimize

    return float(optimize.brentq(lambda effect: power_of(effect, 1.0, personas, alpha) - wanted, 0.0, LARGEST)) * sd


def _personas_for(difference: float, sd: float, alpha: float, wanted: float) -> int | None:
    if difference == 0:
        return None
    return next((personas for personas in range(2, MOST + 1) if power_of(difference, sd, personas, alpha) >= wanted), None)
