"""`make power`: what evaluations of several sizes can find."""

import sys

from core.evaluation.safety import least_bound, safety_in_reach
from core.settings.pipeline import load_settings
from core.terminal import show
from tasks.command_words import in_one_sentence, read_words, whole_number
from tasks.power import plan_evaluation

SIZES = (6, 10, 15, 20, 30, 45, 60, 100)


def main(words: list[str]) -> int:
    """Print the table; return the exit code."""
    return in_one_sentence(lambda: _show(read_words(words, {"settings": "config/pipeline.yaml", "pilot": "", "personas": "", "trials": ""})))


def _show(given: dict[str, str]) -> int:
    numbers = load_settings(given["settings"]).evaluation
    if given["pilot"]:
        numbers = numbers.model_copy(update={"power": numbers.power.model_copy(update={"pilot": given["pilot"]})})
    planned = plan_evaluation(numbers, _number("personas", given["personas"]), _number("trials", given["trials"]))
    show(planned.text, safety_in_reach(planned.personas, numbers.decision.safety_margin), "")
    show(f"  personas  trials  conversations of an arm  shows with {planned.wanted_power:.0%} power  finds {planned.gain:.3f} with  safe within, at best")
    for personas in sorted({*SIZES, planned.personas}):
        for trials in sorted({1, 3, planned.trials}):
            found = plan_evaluation(numbers, personas, trials)
            shown = "nothing" if found.smallest_difference is None else f"{found.smallest_difference:.3f}"
            mark = "  <- planned" if (personas, trials) == (planned.personas, planned.trials) else ""
            show(f"  {personas:8d}  {trials:6d}  {personas * trials:23d}  {shown:>20}  {found.gain_power:>15.0%}  {least_bound(personas):>20.1%}{mark}")
    return 0


def _number(name: str, text: str) -> int | None:
    return whole_number(name, text, 1, 100_000) if text else None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
