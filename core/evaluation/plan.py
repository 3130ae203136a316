"""The power analysis of a planned evaluation, and the true values that its simulation assumes."""

from collections import Counter
from collections.abc import Sequence

from core.errors import EvaluationError
from core.evaluation.battery_play import openings_played
from core.evaluation.exposure import rarest_gate
from core.evaluation.general_prompts import general_questions
from core.evaluation.outcomes import Trial
from core.evaluation.power import PowerAnalysis, Spread, analyse_power, assumed_spread, pilot_spread
from core.evaluation.record import read_pilot
from core.evaluation.refusals import requests_of
from core.evaluation.simulated_evaluations import PROMPTED, GateOpenings, World
from core.packs.pack import Pack
from core.paths import project_path
from core.records import Persona
from core.settings.evaluation import EvaluationSettings


def plan_evaluation(numbers: EvaluationSettings, personas: int | None = None, trials: int | None = None) -> PowerAnalysis:
    """Return the power of the planned evaluation, with the spread of the settings' pilot, or their assumed spread if there is no pilot.

    Args:
        numbers: settings of the evaluation.
        personas, trials: used in place of the settings'; None for the settings'.

    Raises:
        EvaluationError: the pilot cannot be read, or a number is out of its range.
    """
    rule, personas = numbers.decision, numbers.personas if personas is None else personas
    return analyse_power(personas, numbers.trials if trials is None else trials, _spread(numbers), rule.alpha, numbers.power.wanted, rule.improvement)


def plan_world(pack: Pack, numbers: EvaluationSettings, planned: PowerAnalysis, personas: Sequence[Persona], prompted: bool) -> World:
    """Return the true values that the simulation of the whole rule assumes.

    Args:
        pack: pack of the evaluation, for its gates, battery and pass mark.
        numbers: settings of the evaluation.
        planned: the power analysis, for the spread of scores, the personas and the trials.
        personas: the planned personas, which determine how often the rarest gate applies.
        prompted: whether the base also plays under another prompt.
    """
    rare, met = rarest_gate(pack, personas)
    openings = Counter(opening.gate for opening in openings_played(pack, numbers.suite_items))
    battery = [
        GateOpenings(openings=openings[gate], tries=numbers.battery_tries, margin=margin)
        for gate, margin in sorted(pack.battery.margins.items(), key=lambda item: item[0] == rare)
        if openings[gate] and numbers.battery_tries
    ]
    asked = Counter(item.wanted for item in requests_of(numbers))
    return World(
        spread=planned.spread,
        personas=planned.personas,
        trials=planned.trials,
        met=met,
        battery=tuple(battery),
        prompted=PROMPTED if prompted else None,
        pass_at=pack.rubric.numbers.pass_at,
        suites=tuple(items for items in (*asked.values(), len(general_questions(numbers))) if items),
    )


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
