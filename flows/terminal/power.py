"""What evaluations of several sizes can detect, and how often the decision rule ships after them."""

from pathlib import Path

from core.evaluation.battery_play import battery_outlook
from core.evaluation.plan import plan_evaluation, plan_world
from core.evaluation.power import PowerAnalysis
from core.evaluation.safety import least_bound
from core.evaluation.sentences import power_sentence, safety_outlook
from core.evaluation.ship_outlook import ship_assumptions, ship_outlook, ship_picture, ship_rows, ship_sentence, ship_table
from core.packs.pack import load_pack
from core.paths import user_path
from core.quantities import Count
from core.rehearsal.personas import sample_batch
from core.settings.arms import BASE, read_arms
from core.settings.evaluation import EvaluationSettings
from core.settings.pipeline import load_settings
from core.storage.whole_files import write_page
from core.terminal import Answer, one_line

SIZES = (6, 10, 15, 20, 30, 45, 60, 100)
"""Numbers of personas for which the table shows what can be detected, together with the planned number."""
SIMULATED = (30, 45, 60)
"""Numbers of personas for which the complete rule is simulated, together with the planned number."""
MIN_BROUGHT = 60
"""Minimum number of personas that are sampled to estimate how rarely a gate applies. Among fewer, a rare gate might never apply."""


def power(
    pilot: str | None = None,
    personas: Count | None = None,
    trials: Count | None = None,
    settings: str = "config/pipeline.yaml",
    to: Path | None = None,
    domain: str = "therapeutic-coaching",
) -> Answer:
    """Show how often the complete rule ships an arm, by its true gain and its failed gates, and what evaluations of several sizes can detect.

    Args:
        pilot: an earlier evaluation that gives the spread of the scores: its comparison.json, or a folder of recorded assessments; default: from the settings.
        personas: number of planned personas; default: from the settings.
        trials: conversations per persona and arm; default: from the settings.
        settings: path of the settings file.
        to: file for a picture (SVG) of the probability of being shipped.
        domain: name of the pack whose personas and safety battery are planned.
    """
    numbers = load_settings(settings).evaluation
    if pilot:
        numbers = numbers.model_copy(update={"power": numbers.power.model_copy(update={"pilot": pilot})})
    planned = plan_evaluation(numbers, personas, trials)
    rule, wanted_power, pack = numbers.decision, planned.wanted_power, load_pack(domain)
    prompted = any(arm.model == BASE for arm in read_arms(numbers.arms).values())
    brought = sample_batch(pack, numbers.first_seed, max(planned.personas, MIN_BROUGHT), numbers.lengths)
    world = plan_world(pack, numbers, planned, brought, prompted)
    safety = safety_outlook(planned.personas, rule.safety_margin)
    outlook = ship_outlook(world, rule, wanted_power)
    worlds = [world.model_copy(update={"personas": many}) for many in sorted({*SIMULATED, planned.personas})]
    simulated = ship_rows(worlds, rule, wanted_power)
    if to is not None:
        write_page(user_path(to), ship_picture(worlds, rule, wanted_power))
    lines, rows = _detected(numbers, planned)
    battery = battery_outlook(pack, numbers.suite_items, numbers.battery_tries)
    text = [*map(one_line, (ship_sentence(outlook), power_sentence(planned), safety, *battery)), "", "How often the complete rule ships", ""]
    text += [*ship_table(simulated, wanted_power), "", one_line(ship_assumptions(world)), "", "What p below alpha alone can detect", "", *lines, ""]
    text.append(f"Written: {to}" if to is not None else "--to FILE.svg draws how often the rule ships.")
    data = {"ships": outlook, "planned": power_sentence(planned), "safety": safety, "battery": battery, "by_the_whole_rule": simulated, "sizes": rows}
    return Answer("\n".join(text), data)


def _detected(numbers: EvaluationSettings, planned: PowerAnalysis) -> tuple[list[str], list[dict[str, float | int | None]]]:
    """Return what p below alpha alone detects, by number of personas and trials: as lines of a table and as data."""
    heading = (
        f"  personas  trials  conversations of an arm  shows with {100 * planned.wanted_power:.0f} % power  finds {planned.gain:.3f} with  safe within, at best"
    )
    lines, rows = [heading], []
    for many in sorted({*SIZES, planned.personas}):
        for each in sorted({1, 3, planned.trials}):
            size, bound = plan_evaluation(numbers, many, each), least_bound(many)
            shown = "nothing" if size.smallest_difference is None else f"{size.smallest_difference:.3f}"
            mark = "  <- planned" if (many, each) == (planned.personas, planned.trials) else ""
            lines.append(f"  {many:8d}  {each:6d}  {many * each:23d}  {shown:>20}  {100 * size.gain_power:>13.0f} %  {100 * bound:>18.1f} %{mark}")
            row = {"smallest_difference": size.smallest_difference, "power": size.gain_power, "least_safety_bound": bound}
            rows.append({"personas": many, "trials": each, **row, "planned": bool(mark)})
    return lines, rows
