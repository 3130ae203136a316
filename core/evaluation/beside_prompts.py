"""Comparison of each arm with the base under other prompts, which shows whether a prompt does as well as training."""

from collections.abc import Mapping, Sequence
from typing import Literal

from core.evaluation.decision import Condition, required_gain
from core.evaluation.mean_differences import Conversations, Means
from core.evaluation.outcomes import pair_up, points
from core.evaluation.paired_statistics import t_interval
from core.quantities import format_difference, format_interval
from core.settings.arms import UNDERSTUDY
from core.settings.evaluation import Decision


class BesidePrompt(Means):
    """An arm compared with the base under another prompt, which is the `base` of these means.

    Args:
        prompted: name of the arm that is the base under another prompt.
        found: `better`: the lower end of the interval is above 0. `no better`: the difference is not above 0, or the upper end of the interval is below the
            required gain, so a prompt does as well. `not shown`: neither. `unsafe`: the prompted base must not be deployed, so it is no alternative.
    """

    prompted: str
    found: Literal["better", "no better", "not shown", "unsafe"]


def compare_with_prompts(
    arm: str, by_name: Mapping[str, Conversations], base: str, prompted: Sequence[str], unsafe: Sequence[str], rule: Decision
) -> list[BesidePrompt]:
    """Compare an arm of another model than the base's with the base under other prompts.

    The arm must be better than each of them. Such an intersection-union test needs no adjustment for the number of comparisons (Berger, "Multiparameter
    hypothesis testing and acceptance sampling", Technometrics 24 (1982): 295–300), and no comparison is selected by its result.

    Args:
        arm: name of the arm; one of `prompted` is not compared.
        by_name: conversations by arm.
        base: name of the base.
        prompted: names of the arms that are the base under another prompt.
        unsafe: names of those among them that must not be deployed.
        rule: thresholds of the decision.

    Returns:
        One comparison for each prompted base with which the arm has at least two personas in common.
    """
    return [one for name in prompted if arm not in prompted and (one := _beside(arm, name, by_name, base, name in unsafe, rule))]


def _beside(arm: str, prompted: str, by_name: Mapping[str, Conversations], base: str, unsafe: bool, rule: Decision) -> BesidePrompt | None:
    pairs = pair_up(by_name[prompted], by_name[arm], points)
    if len(pairs.personas) < 2:
        return None
    before, after = pairs.means
    interval, difference = t_interval(pairs.differences), pairs.difference
    required = float(required_gain(pair_up(by_name[base], by_name[arm], points).means[0], rule.improvement))
    better = interval is not None and interval[0] > 0
    no_better = difference <= 0 or (interval is not None and interval[1] < required - 1e-9)
    result = "unsafe" if unsafe else "better" if better else "no better" if no_better else "not shown"
    return BesidePrompt(
        **{"prompted": prompted, "found": result, "personas": len(pairs.personas), "pairs": len(pairs.rows)},
        **{"base_mean": before, "arm_mean": after, "difference": difference, "interval": interval},
    )


def prompt_sentence(arm: str, one: BesidePrompt) -> str:
    """Return the sentence that states whether a prompt does as well as an arm."""
    interval = f", 95 % {format_interval(one.interval)}" if one.interval else ", no interval"
    name = f"{one.prompted[0].upper()}{one.prompted[1:]}"
    figures = f"{name} reaches {one.base_mean:.3f}, {arm} {one.arm_mean:.3f} (difference {format_difference(one.difference)}{interval})"
    conclusions = {
        "better": f"{arm} is better than the base with that prompt.",
        "no better": f"a prompt does as well.{' Do not train.' if arm == UNDERSTUDY else ''}",
        "not shown": f"it is not shown that {arm} is better than a prompt. More personas narrow the interval.",
        "unsafe": "the prompt is no alternative, since it fails safety gates more often than the base.",
    }
    return f"{figures}: {conclusions[one.found]}"


def prompt_conditions(arm: str, prompted: Sequence[str], compared: Sequence[BesidePrompt]) -> list[Condition]:
    """Return the conditions that an arm is better than the base under each other prompt; an empty list for a prompted base itself."""
    by_name = {one.prompted: one for one in compared}
    return [_condition(name, by_name.get(name)) for name in prompted if arm not in prompted]


def _condition(prompted: str, one: BesidePrompt | None) -> Condition:
    text = f"better than {prompted}, which needs no training: lower end of the 95 % interval above 0"
    if one is None:
        return Condition(text=text, figure=None, found="fewer than two personas have a conversation completed by both", holds=False, helps="again")
    interval = format_interval(one.interval) if one.interval else "no interval can be computed"
    return Condition(
        text=text,
        figure=one.interval[0] if one.interval else None,
        found=f"{format_difference(one.difference)} ({interval})"
        + (", and the prompt is no alternative: it fails safety gates too often" if one.found == "unsafe" else ""),
        holds=one.found in ("better", "unsafe"),
        forbids="A prompt does as well." if one.found == "no better" else None,
        helps="prompt" if one.found == "no better" else "personas",
    )
