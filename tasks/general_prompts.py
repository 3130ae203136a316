"""General prompts: every arm is asked them before it plays, so that one that does not load, or says nothing, is found before others are paid for."""

from collections.abc import Sequence

from prefect.logging import get_run_logger

from core.errors import EvaluationError
from core.evaluation.arms import Arm, by_model
from core.evaluation.facts import GeneralAnswer
from core.evaluation.general_prompts import GeneralPlan, load_general_prompts, marked, plan_general
from core.fingerprint import fingerprint, seed_of
from core.llm.chat import ChatRequest, Message
from core.llm.run import Run
from core.records import Reference
from tasks.batches import gather_bounded
from tasks.evaluation import in_memory
from tasks.owning import owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_model


class GeneralRef(Reference):
    """An answer to a general prompt."""


@cached_task("general-prompt", "ask {plan.name}")
async def general_task(run: Run, plan: GeneralPlan) -> GeneralRef:
    """Ask a model a general prompt, without a system prompt, and store its answer."""
    store, path = run.store, f"evaluations/general/{fingerprint(plan)}.json"
    if store.exists(path):
        return existing(GeneralRef(path=path))
    model, seed = await open_model(run, plan.choice), seed_of("general", plan.name)
    reply = await model.complete(ChatRequest("assistant", "", (Message("user", plan.prompt),), plan.max_tokens, seed, item=plan.item))
    store.write_json(path, {"answer": reply.text.strip()})
    return GeneralRef(path=path)


async def ask_general(run: Run, arms: Sequence[Arm]) -> dict[str, list[GeneralAnswer]]:
    """Ask every model all general prompts, one in memory at a time. They go without a system prompt, so the answers stand under the model's first arm.

    Raises:
        EvaluationError: an arm answered none of them.
        SettingsError: an arm's model does not load.
    """
    by_arm: dict[str, list[GeneralAnswer]] = {}
    for arm in (same[0] for same in by_model(arms)):
        async with in_memory(arm.choice), concurrency_slot(run, (), arm.choice):
            by_arm[arm.name] = await _ask(run, arm)
    log_bill(run)
    return by_arm


async def _ask(run: Run, arm: Arm) -> list[GeneralAnswer]:
    plans, refs, logger = plan_general(run.settings.evaluation.general_max_tokens, arm), {}, get_run_logger()

    async def one(plan: GeneralPlan) -> GeneralRef:
        async with owned(run.store, f"general/{fingerprint(plan)}"):
            refs[plan.name] = await run_cached(general_task, run, plan)
        return refs[plan.name]

    _, lost = await gather_bounded(run, one, list(plans.values()), list(plans), run.settings.evaluation.concurrency, None)
    reasons = {item.name: item.reason for item in lost}
    answers = {name: run.store.load_json(ref.path)["answer"] for name, ref in refs.items()}
    replies = [marked(item, answers.get(item.name), reasons.get(item.name)) for item in load_general_prompts() if item.name in plans]
    if replies and not any(item.answer for item in replies):
        why = next(iter(reasons.values()), "every answer was empty")
        raise EvaluationError(
            f"{arm.name} ({arm.choice.reference}) answered none of {len(replies)} general prompts: {why}. Check that the model loads, that it has its own "
            "chat template, and that evaluation.general_max_tokens leaves it room."
        )
    logger.info("%s: %d of %d general prompts answered right.", arm.name, sum(item.right is True for item in replies), len(replies))
    return replies
