"""A forecast of whether a run's jobs fit its budget, before the conversations that they need are paid for."""

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
    """Check that the training and all exports fit jobs.usd, with the assumptions of `understudy costs`. Nothing is checked if jobs run here.

    Args:
        run: the run.
        base: the base model.
        training: the training settings.
        conversations: number of conversations; 0 if they exist and their number is not known. Then only the minimum that any training takes is checked.

    Raises:
        SettingsError: a job fits no machine.
        BudgetError: the jobs do not fit the budget.
    """
    jobs, assumptions = run.settings.jobs, load_hardware().estimate
    if jobs.where == "local":
        return
    load, offered = await asyncio.to_thread(_load, run, conversations), await _offered(await service(run.settings))
    about = f"the training on about {load.tokens:,.0f} tokens a pass (as `understudy costs` assumes)" if conversations else "any training"
    decoder = shape(run.store, base)
    spent = plan_training(about[0].upper() + about[1:], decoder, training, load, offered, assumptions, jobs, 0.0).chosen.usd
    for arm in ("base", "understudy", *(("preferred",) if training.pairs is not None else ())):
        spent += plan_conversion(f"Export of the {arm}, after {about}", decoder, training, offered, assumptions, jobs, spent).chosen.usd


def _load(run: Run, conversations: int) -> Load:
    """Return the estimated tokens of a training: for training, for validation, and of the longest example."""
    settings, sizes = run.settings, measure_prompts(run.pack, run.settings, count_tokens)
    exchange = ASSUMPTIONS.user_tokens + ASSUMPTIONS.answer_tokens
    longest = min(sizes.short + max(sizes.lengths) * exchange, settings.dataset.slicing.max_tokens) if conversations else 1
    tokens, share = training_tokens(run.pack, settings, conversations, count_tokens), settings.dataset.validation_share
    return Load(round(tokens * (1 - share)), round(tokens * share), round(longest))


async def _offered(block: "HfJob") -> dict[str, Flavor]:
    """Return the machines with the prices of the service, or those of config/hardware.yaml if it does not answer."""
    try:
        offers = await asyncio.to_thread(block.offered)
    except HubError:
        offers = {}  # the prices of config/hardware.yaml are used instead
    return flavors(load_hardware(), offers)
