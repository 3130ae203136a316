"""What an evaluation can find, shown before it is paid for."""

from core.errors import EvaluationError
from core.evaluation.outcomes import Trial
from core.evaluation.power import PowerAnalysis, Spread, analyse_power, assumed_spread, pilot_spread
from core.evaluation.record import read_pilot
from core.paths import project_path
from core.settings.evaluation import EvaluationSettings


def plan_evaluation(numbers: EvaluationSettings, personas: int | None = None, trials: int | None = None) -> PowerAnalysis:
    """Say what the planned personas and trials can find, with the spread of the settings' pilot or their assumed one.

    Raises:
        EvaluationError: the pilot cannot be read, or a number is out of its range.
    """
    rule, how_many = numbers.decision, numbers.personas if personas is None else personas
    return analyse_power(how_many, numbers.trials if trials is None else trials, _spread(numbers), rule.alpha, numbers.power.wanted, rule.improvement)


def _spread(numbers: EvaluationSettings) -> Spread:
    power = numbers.power
    if power.pilot is None:
        return assumed_spread(power.between, power.within, power.base_mean)
    played, base = read_pilot(project_path(power.pilot))
    return pilot_spread(played, *_two_arms(played, base, power.pilot))


def _two_arms(played: list[Trial], base: str | None, pilot: str) -> tuple[str, str]:
    arms = sorted({item.arm for item in played})
    base = base or "base"
    others = [arm for arm in arms if arm != base]
    if base not in arms or not others:
        raise EvaluationError(f"{pilot} has the arms {', '.join(arms)}; a pilot needs one called {base} and another.")
    return base, "understudy" if "understudy" in others else others[0]
