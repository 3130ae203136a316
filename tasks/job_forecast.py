"""Whether a run's jobs are likely to fit its budget, before the conversations that they need are paid for."""

import asyncio
from typing import TYPE_CHECKING

from blocks.jobs import service
from blocks.tokens import count_tokens
from core.errors import HubError
from core.llm.run import Run
from core.records import ModelRef
from core.reports.costs import training_tokens
from core.reports.planned_calls import ASSUMPTIONS, measure_prompts
from core.settings.jobs import Training
from core.training.estimate import Load
from core.training.hardware import Flavor, flavors, load_hardware
from core.training.plan import plan_conversion, plan_training
from core.training.shapes import shape

if TYPE_CHECKING:
    from blocks.hf_job import HfJob


async def check_job_budget(run: Run, base: ModelRef, training: Training, conversations: int) -> None:
    """Check that a training on `conversations` conversations and both exports fit jobs.usd, by what the settings take for granted (costs).

    Args:
        conversations: 0 where they are there and nobody has counted them; only the least that jobs take is asked for then.

    Raises:
        SettingsError, BudgetError: they do not fit a machine or the budget.
    """
    jobs, known = run.settings.jobs, load_hardware().estimate
    if jobs.where == "local":
        return
    load, offered = await asyncio.to_thread(_load, run, conversations), await _offered(await service(run.settings))
    about = f"the training on about {load.tokens:,.0f} tokens a pass (as `understudy costs` assumes)" if conversations else "any training"
    decoder = shape(run.store, base)
    spent = plan_training(about[0].upper() + about[1:], decoder, training, load, offered, known, jobs, 0.0).chosen.usd
    for arm in ("base", "understudy", *(("preferred",) if training.pairs is not None else ())):
        spent += plan_conversion(f"Export of the {arm}, after {about}", decoder, training, offered, known, jobs, spent).chosen.usd


def _load(run: Run, conversations: int) -> Load:
    settings, sizes = run.settings, measure_prompts(run.pack, run.settings, count_tokens)
    exchange = ASSUMPTIONS.user_tokens + ASSUMPTIONS.answer_tokens
    longest = min(sizes.short + max(sizes.lengths) * exchange, settings.dataset.slicing.max_tokens) if conversations else 1
    tokens, share = training_tokens(run.pack, settings, conversations, count_tokens), settings.dataset.validation_share
    return Load(round(tokens * (1 - share)), round(tokens * share), round(longest))


async def _offered(block: "HfJob") -> dict[str, Flavor]:
    try:
        offers = await asyncio.to_thread(block.offered)
    except HubError:
        offers = {}  # the file's prices stand in
    return flavors(load_hardware(), offers)
