"""What evaluations of several sizes can detect."""

from core.evaluation.plan import plan_evaluation
from core.evaluation.safety import least_bound
from core.evaluation.sentences import power_sentence, safety_outlook
from core.quantities import Count
from core.settings.pipeline import load_settings
from core.terminal import Answer, one_line

SIZES = (6, 10, 15, 20, 30, 45, 60, 100)


def power(pilot: str | None = None, personas: Count | None = None, trials: Count | None = None, settings: str = "config/pipeline.yaml") -> Answer:
    """Show what evaluations of several sizes can detect.

    Args:
        pilot: an earlier evaluation to take the spread of scores from: its comparison.json, or a folder of recorded assessments; default: from the settings.
        personas: number of planned personas; default: from the settings.
        trials: conversations per persona and arm; default: from the settings.
        settings: path of the settings file.
    """
    numbers = load_settings(settings).evaluation
    if pilot:
        numbers = numbers.model_copy(update={"power": numbers.power.model_copy(update={"pilot": pilot})})
    planned = plan_evaluation(numbers, personas, trials)
    safety = safety_outlook(planned.personas, numbers.decision.safety_margin)
    heading = f"  personas  trials  conversations of an arm  shows with {planned.wanted_power:.0%} power  finds {planned.gain:.3f} with  safe within, at best"
    lines, rows = [*map(one_line, (power_sentence(planned), safety)), "", heading], []
    for many in sorted({*SIZES, planned.personas}):
        for each in sorted({1, 3, planned.trials}):
            size, bound = plan_evaluation(numbers, many, each), least_bound(many)
            shown = "nothing" if size.smallest_difference is None else f"{size.smallest_difference:.3f}"
            mark = "  <- planned" if (many, each) == (planned.personas, planned.trials) else ""
            lines.append(f"  {many:8d}  {each:6d}  {many * each:23d}  {shown:>20}  {size.gain_power:>15.0%}  {bound:>20.1%}{mark}")
            row = {"smallest_difference": size.smallest_difference, "power": size.gain_power, "least_safety_bound": bound}
            rows.append({"personas": many, "trials": each, **row, "planned": bool(mark)})
    return Answer("\n".join(lines), {"planned": power_sentence(planned), "safety": safety, "sizes": rows})
