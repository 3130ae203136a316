"""Pairwise judging: one task each time a judge reads two conversations."""

from collections.abc import Sequence

from prefect.logging import get_run_logger

from blocks.tokens import count_tokens
from core.errors import ContextError
from core.evaluation.pair_plans import plan_pairs, preferences_by_arm, readings
from core.evaluation.pairwise import PairAnswer, PairPlan, read_pair
from core.evaluation.preference_words import rate_sentence
from core.evaluation.preferences import Preferences
from core.evaluation.schedule import Outcomes, Part
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.records import Reference, Transcript
from tasks.batches import gather_bounded
from tasks.owning import owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_model


class PairRef(Reference):
    """A judge's answer about two conversations."""


@cached_task("pairwise", "compare {plan.name}")
async def pairwise_task(run: Run, plan: PairPlan) -> PairRef:
    """Have a judge read two conversations, and store its answer."""
    store, item = run.store, plan.item(run.store, run.pack)
    path = f"evaluations/pairs/{plan.domain}/{item}.json"
    if store.exists(path):
        return existing(PairRef(path=path))
    both = [store.load(transcript, Transcript) for transcript in (plan.first, plan.second)]
    answer = await read_pair(plan, item, run.pack, await open_model(run, plan.judge), both, count_tokens)
    store.write_json(path, answer)
    return PairRef(path=path)


async def compare_pairs(run: Run, parts: Sequence[Part], outcomes: Outcomes) -> dict[str, Preferences]:
    """Have the judge compare each persona's conversation with the base and that with each arm, in both orders; existing answers are reused.

    Returns:
        The preferences by arm; empty if evaluation.pairwise is false.

    Raises:
        RunStoppedError: the judge can no longer be called, or the budget is spent; the same command continues.
    """
    if not run.settings.evaluation.pairwise:
        return {}
    pairs = plan_pairs(run, parts, outcomes)
    plans, refs, too_long = readings(pairs), dict[str, PairRef](), set[str]()

    async def compare(plan: PairPlan) -> PairRef:
        try:
            async with owned(run.store, f"pairs/{fingerprint(plan)}"):
                refs[plan.name] = await run_cached(pairwise_task, run, plan)
        except ContextError:
            too_long.add(plan.name)
            raise
        return refs[plan.name]

    async with concurrency_slot(run, ("judge",)):
        await gather_bounded(run, compare, plans, [plan.name for plan in plans], run.settings.assessment.concurrency, "Compared in pairs")
    log_bill(run)
    by_arm = preferences_by_arm(run, parts, pairs, {name: run.store.load(ref.path, PairAnswer) for name, ref in refs.items()}, too_long)
    for arm, preferences in by_arm.items():
        get_run_logger().info("%s", rate_sentence(preferences, arm))
    return by_arm
