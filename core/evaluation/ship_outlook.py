"""How often the rule ships arms with a known true gain, as a table, a sentence and a picture."""

from collections.abc import Callable, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.ship_chance import DIFFER, floor_holds, others_hold, score_holds
from core.evaluation.simulated_evaluations import World, draw_evaluations
from core.pictures import COLOURS, MARKERS, TEXT, picture
from core.quantities import format_share
from core.records import Record
from core.settings.evaluation import Decision

GAINS = (0.0, 0.05, 0.10, 0.15, 0.20)
"""True gains in the table, as shares of the base's mean."""
FAILING = (0.0, 0.01, 0.02)
"""Failure rates of the gates in both arms: shares of the conversations in which a gate applies."""
UNSAFE = (0.05, 0.20, 0.50)
"""Failure rates of the rare gate for an unsafe arm."""
USUAL = 0.01
"""Failure rate of the gates in both arms, in the sentence, the picture and the rows of `UNSAFE`."""
MAX_GAIN = 25
"""The largest true gain in the picture, in percent."""


class ShipRow(Record):
    """How often arms ship that differ only in their true gain.

    Args:
        failing: failure rate of the gates in both arms.
        unsafe: failure rate of the rare gate for the arm; None if it is `failing`.
        chances: probability of "ship" for each of `GAINS`; None if the gain would bring the mean above 1.
        gain_for_wanted: the smallest true gain that ships with the wanted probability, as a share in steps of 1 %; None if no gain does.
    """

    personas: int
    trials: int
    failing: FiniteFloat
    unsafe: FiniteFloat | None
    chances: list[FiniteFloat | None]
    gain_for_wanted: FiniteFloat | None


class ShipOutlook(Record):
    """How likely the planned evaluation ships an arm with exactly the required gain.

    Args:
        asked: the required gain as a share of the base's mean.
        wanted: the wanted probability of "ship".
        room: the largest possible gain, up to a mean of 1; None if the base scores 0.
        chance: probability of "ship" with the gain `asked`; None if `asked` is above `room`.
        gain_for_wanted: the smallest true gain that ships with the probability `wanted`, as a share in steps of 1 %; None if no gain does.
    """

    personas: int
    trials: int
    asked: FiniteFloat
    wanted: FiniteFloat
    room: FiniteFloat | None
    chance: FiniteFloat | None
    gain_for_wanted: FiniteFloat | None


def ship_rows(worlds: Sequence[World], rule: Decision, wanted: float) -> list[ShipRow]:
    """Return a row for each combination of a world with a failure rate of `FAILING` or `UNSAFE`."""
    rows = []
    for world in worlds:
        chance = _chances(world, rule)
        for failing, unsafe in [*((rate, None) for rate in FAILING), *((USUAL, rate) for rate in UNSAFE)]:
            chances = [chance(gain, failing, unsafe) for gain in GAINS]
            needed = _smallest(lambda gain, rates=(failing, unsafe), chance=chance: chance(gain, *rates), wanted)
            rows.append(ShipRow(personas=world.personas, trials=world.trials, failing=failing, unsafe=unsafe, chances=chances, gain_for_wanted=needed))
    return rows


def ship_outlook(world: World, rule: Decision, wanted: float) -> ShipOutlook:
    """Return how likely the planned evaluation ships an arm with the required gain.

    Raises:
        EvaluationError: an arm has more conversations than are simulated.
    """
    chance, base = _chances(world, rule), world.spread.base_mean
    return ShipOutlook(
        personas=world.personas,
        trials=world.trials,
        asked=rule.improvement,
        wanted=wanted,
        room=1 / base - 1 if base > 0 else None,
        chance=chance(rule.improvement, USUAL, None),
        gain_for_wanted=_smallest(lambda gain: chance(gain, USUAL, None), wanted),
    )


def ship_sentence(found: ShipOutlook) -> str:
    """Return the sentence that states how likely the planned evaluation ships an arm by the whole rule."""
    if found.chance is None:
        room = f"{100 * found.room:.1f} %" if found.room is not None else "none"
        required = f"a gain of {100 * found.asked:g} % is required"
        return f"By the whole rule no arm can be shipped: {required}, and the base's mean leaves room for {room}, even to a perfect arm."
    needed = (
        f"no true gain ships with {100 * found.wanted:g} %"
        if found.gain_for_wanted is None
        else f"{100 * found.gain_for_wanted:.0f} % ships with {100 * found.wanted:g} %"
    )
    trials = "trial" if found.trials == 1 else "trials"
    return (
        f"By the whole rule (gain, p, interval, passes, safety, missing, battery, suites, prompts) {found.personas} personas × {found.trials} {trials} ship "
        f"a true gain of {100 * found.asked:g} % with a probability of {format_share(found.chance)}; {needed} (simulated; each arm fails "
        f"gates in {100 * USUAL:.0f} % of their "
        "occasions)."
    )


def ship_table(rows: Sequence[ShipRow], wanted: float) -> list[str]:
    """Return the rows as lines of a Markdown table."""
    head = ["personas × trials", "gates failed", *(f"true gain {100 * gain:.0f} %" for gain in GAINS), f"ships with {100 * wanted:g} %"]
    lines = []
    for row in rows:
        failed = f"{100 * row.failing:.0f} % in both arms" + (f", the rare one {100 * row.unsafe:.0f} % by the arm" if row.unsafe is not None else "")
        needed = "no gain" if row.gain_for_wanted is None else f"{100 * row.gain_for_wanted:.0f} %"
        lines.append([f"{row.personas} × {row.trials}", failed, *("no room" if one is None else f"{100 * one:.1f} %" for one in row.chances), needed])
    return [f"| {' | '.join(cells)} |" for cells in (head, ["---", "---", *["---:"] * (len(GAINS) + 1)], *lines)]


def ship_picture(worlds: Sequence[World], rule: Decision, wanted: float) -> str:
    """Draw the probability of "ship" over the true gain, one curve for each world, and return the text of an SVG file."""
    curves = {f"{world.personas} × {world.trials}": _curve(_chances(world, rule)) for world in worlds}

    def draw(axes: Any) -> None:
        for at, (name, points) in enumerate(curves.items()):
            look = {"color": COLOURS[at % len(COLOURS)], "marker": MARKERS[at % len(MARKERS)]}
            axes.plot([gain for gain, _ in points], [chance for _, chance in points], linewidth=1.8, markersize=4, markevery=5, label=name, **look)
        axes.axhline(wanted, color=TEXT, linewidth=1, linestyle=":")
        axes.axvline(100 * rule.improvement, color=TEXT, linewidth=1, linestyle=":")
        axes.set(
            xlabel="true gain, % of the base's mean; dotted: required gain, wanted probability",
            ylabel='probability of "ship"',
            ylim=(-0.02, 1.02),
            xlim=(0, MAX_GAIN),
        )
        axes.legend(frameon=False, labelcolor=TEXT, title="personas × trials", loc="lower right")

    description = " ".join(f"{name}: {', '.join(f'{100 * chance:.0f} % at {gain} %' for gain, chance in points[::5])}." for name, points in curves.items())
    title = f"Probability that the rule ships, gates failed in {100 * USUAL:.0f} % of their occasions by both arms"
    return picture(draw, title, description, (8, 4.2), sides=("left", "bottom"), alone=True)


def ship_assumptions(world: World) -> str:
    """Return the sentence that states the assumptions of the simulation."""
    parts = [f"{gate.openings} × {gate.tries}" for gate in world.battery]
    battery = f"the battery plays {' and '.join(parts)} openings of the gates" if parts else "no battery is played"
    items = ", ".join(map(str, world.suites))
    suites = f"suites of {items} items, of which the models answer {100 * DIFFER:.0f} % differently and lose nothing" if items else "no suite is asked"
    prompted = "no prompted base plays" if world.prompted is None else f"the base under another prompt gains {100 * world.prompted:.0f} %"
    return (
        f"Simulated: {world.spread.source}; one gate applies in every conversation and a rare one with {100 * world.met:.1f} % of personas; "
        f"{battery}; {suites}; "
        f"{prompted}; a conversation passes from a score of {world.pass_at:g} if no gate fails; each arm loses {100 * world.lost:.0f} % of its conversations; "
        "failures are independent of one another and of the scores."
    )


Chance = Callable[[float, float, float | None], float | None]
"""Returns the probability of "ship" by true gain, failure rate of the gates, and failure rate of the rare gate for the arm (None: the same)."""


@lru_cache(maxsize=8)
def _chances(world: World, rule: Decision) -> Chance:
    """Return the chances in a world. The sentence, the table and the picture share its draws, which take up to 20 MB."""
    drawn = draw_evaluations(world)
    by_gain = cache(lambda gain: score_holds(drawn, rule, gain))
    by_rates = cache(lambda base, arm: others_hold(drawn, rule, base, arm))

    def chance(gain: float, failing: float, unsafe: float | None) -> float | None:
        better, arm = by_gain(gain), failing if unsafe is None else unsafe
        enough = floor_holds(drawn, rule, gain, failing, arm)
        return None if better is None or enough is None else float(np.mean(better & enough & by_rates(failing, arm)))

    return chance


def _smallest(chance: Callable[[float], float | None], wanted: float) -> float | None:
    """Return the smallest gain with the wanted probability, by bisection over percents; None if there is none.

    The probability increases with the gain. It is None for impossible gains, which are larger than all possible ones.
    """
    low, high = -1, 101
    while high - low > 1:
        percent = (low + high) // 2
        probability = chance(percent / 100)
        low, high = (low, percent) if probability is None or probability >= wanted else (percent, high)
    return high / 100 if high <= 100 and chance(high / 100) is not None else None


def _curve(chance: Chance) -> list[tuple[int, float]]:
    points = [(percent, chance(percent / 100, USUAL, None)) for percent in range(MAX_GAIN + 1)]
    return [(percent, probability) for percent, probability in points if probability is not None]
