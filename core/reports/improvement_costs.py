"""The cost of a round of improvement, without its training and export."""

from collections.abc import Mapping

from core.llm.chat import Usage
from core.llm.prices import PriceList
from core.packs.pack import Pack
from core.reports.costs import JUDGE, Cost, cost_of, run_costs
from core.reports.planned_calls import ASSUMPTIONS, Count, Sizes, judge_calls, measure_prompts, user_calls
from core.settings.pipeline import Settings

EVALUATES = ("evaluation", "safety battery")


def improvement_costs(pack: Pack, settings: Settings, prices: Mapping[str, PriceList], count: Count, measured: Sizes | None = None) -> list[Cost]:
    """Return the maximum cost of one round: all its conversations fail, and each gets the maximum number of corrections.

    The understudy runs on this machine, which costs only time.

    Args:
        prices: price lists by model reference.
        count: counts the tokens of a text.
        measured: lengths of the prompts; None measures them.
    """
    sizes, roles, improvement, assumed = measured or measure_prompts(pack, settings, count), settings.roles, settings.improvement, ASSUMPTIONS
    share, corrections = improvement.conversations / len(sizes.lengths), improvement.conversations * improvement.corrections
    user, judge = user_calls(sizes, sizes.lengths), judge_calls(pack, settings, sizes, sizes.lengths)
    gates = [criterion for criterion in pack.rubric.criteria.values() if criterion.head.gate]
    checked = (len(gates) + 1) / len(pack.rubric.criteria)
    conversation = sizes.exchanges / 2 * (assumed.user_tokens + assumed.answer_tokens)  # on average, a correction is in the middle
    frame = count(pack.repair.text) if pack.repair else 0
    teaching = Usage(round(frame + conversation + sizes.criteria / len(pack.rubric.criteria)), assumed.answer_tokens + assumed.thinking_tokens)
    checking = Usage(round(sizes.assessor + conversation + checked * sizes.criteria), (len(gates) + 1) * assumed.verdict_tokens + assumed.thinking_tokens)
    alone = settings.model_copy(update={"evaluation": settings.evaluation.model_copy(update={"arms": {}})})
    return [
        cost_of("practice", "user simulator", roles.user_simulator, share, user, prices),
        *(cost_of("practice", JUDGE, name, share, judge, prices) for name in roles.judges),
        cost_of("corrections", "teacher", roles.repairer or roles.assistant, corrections, [teaching], prices),
        *(cost_of("corrections", JUDGE, name, corrections, [checking], prices) for name in roles.judges),
        *(cost for cost in run_costs(pack, alone, 0, prices, count, sizes) if cost.stage in EVALUATES),
    ]
