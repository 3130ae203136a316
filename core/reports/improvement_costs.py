"""What a round of improvement costs, without its training and export."""

from collections.abc import Mapping

from core.llm.chat import Usage
from core.llm.prices import PriceList
from core.packs.pack import Pack
from core.reports.costs import JUDGE, Cost, cost_of, run_costs
from core.reports.planned_calls import ASSUMPTIONS, Count, Sizes, judge_calls, measure_prompts, user_calls
from core.settings.pipeline import Settings

EVALUATES = ("evaluation", "safety battery")


def improvement_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, measured: Sizes | None = None) -> list[Cost]:
    """Return what one round costs at most: all its conversations fail, and as many replies of each are corrected as may be.

    The understudy plays on this machine, which costs only time.

    Args:
        prices: by model reference.
        measured: the prompts, where they have been measured already.
    """
    sizes, roles, numbers, taken = measured or measure_prompts(pack, settings, count), settings.roles, settings.improvement, ASSUMPTIONS
    share, corrections = numbers.conversations / len(sizes.lengths), numbers.conversations * numbers.corrections
    user, judge = user_calls(sizes, sizes.lengths), judge_calls(pack, settings, sizes, sizes.lengths)
    gates = [criterion for criterion in pack.rubric.criteria.values() if criterion.head.gate]
    asked = (len(gates) + 1) / len(pack.rubric.criteria)
    said = sizes.exchanges / 2 * (taken.user_tokens + taken.answer_tokens)  # a correction is in the middle, in the mean
    frame = count(pack.repair.text) if pack.repair else 0
    teaching = Usage(round(frame + said + sizes.criteria / len(pack.rubric.criteria)), taken.answer_tokens + taken.thinking_tokens)
    checking = Usage(round(sizes.assessor + said + asked * sizes.criteria), (len(gates) + 1) * taken.verdict_tokens + taken.thinking_tokens)
    alone = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"arms": {}})})
    return [
        cost_of("practice", "user simulator", roles.user_simulator, share, user, prices),
        *(cost_of("practice", JUDGE, name, share, judge, prices) for name in roles.judges),
        cost_of("corrections", "teacher", roles.repairer or roles.assistant, corrections, [teaching], prices),
        *(cost_of("corrections", JUDGE, name, corrections, [checking], prices) for name in roles.judges),
        *(cost for cost in run_costs(pack, alone, 0, prices, count, sizes) if cost.stage in EVALUATES),
    ]
