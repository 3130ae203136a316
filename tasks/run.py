"""How a run begins: all that it will read is loaded and checked before anything is made or paid for."""

import asyncio
import gc
import re
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from contextvars import ContextVar
from typing import Any

from prefect.client.orchestration import get_client
from prefect.concurrency.asyncio import concurrency
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger

from blocks.access import check_access
from blocks.chat import choose, choose_saved, load_chat_model
from core.errors import DesignError, SettingsError
from core.fingerprint import fingerprint
from core.judging.panel import check_rubric
from core.llm.answer_log import RecalledModel
from core.llm.calls import Caller
from core.llm.chat import ChatModel
from core.llm.ledger import Ledger
from core.llm.models_asked import check_price, models_named, prices_of, with_judges
from core.llm.run import ROLES, Run
from core.packs.pack import Pack, load_pack
from core.records import ModelChoice, RoleName, Shard
from core.settings.keys import refuse_keys
from core.settings.model_names import model_settings
from core.settings.pipeline import Settings, check_jobs, load_settings, load_training
from core.storage.leftovers import clear_leftovers
from core.storage.store import open_store
from core.terminal import moving_line
from tasks import policy as _policy  # noqa: F401  keeps the log of every flow readable
from tasks.artifacts import publish_studio_link
from tasks.owning import LOCK

LEASE_SECONDS = 60.0
"""The shortest that Prefect allows."""


GARBAGE = 20_000
"""New objects after which Python's collector looks for cycles."""

MAY_CHANGE: dict[str, Any] = dict.fromkeys(("budget", "calls", "models", "jobs", "nightly", "costs", "calibration"), True) | {"assessment": {"batch"}}
"""Settings that may change between attempts of one run."""

_RUN: ContextVar[Run] = ContextVar("run")


async def begin_run(flow: str, domain: str, settings: str, shard: Shard | None = None, **asked: Any) -> Run:
    """Load and check all that a run will read, before it makes or pays for anything; a stage of a running pipeline joins its run.

    Args:
        flow: the flow's name.
        shard: the run that it is a part of, if it is one.
        asked: its other parameters.

    Raises:
        UnderstudyError: the first thing found wrong in a parameter, the settings, the pack, a model's name or key, or the data root.
    """
    refuse_keys({f"parameter {name}": value for name, value in {"domain": domain, "settings": settings, **asked}.items()})
    config, pack = load_settings(settings), load_pack(domain)
    under_way, context = _RUN.get(None), FlowRunContext.get()
    if under_way and context and context.flow_run and context.flow_run.parent_task_run_id:
        return under_way
    check_jobs(config, load_training(config.training))
    store = open_store()
    store.check_writable()
    if store.is_local:
        count, size = await asyncio.to_thread(clear_leftovers, store.local("x").parent)
        if count:
            get_run_logger().info("Removed %d unfinished files and folders of processes that have ended: %.1f MB.", count, size / 1e6)
    asking = with_judges(config, asked)
    models = await choose_models(asking, flow, pack)
    config.check_entries(models_named(config, flow, asked))
    await check_access(flow, domain, config)
    stable = asking.model_dump(exclude=MAY_CHANGE)
    name = f"{flow}-{fingerprint([domain, pack.hash, asked, stable, models])}"
    budget = config.nightly.budget if flow == "nightly" else config.budget
    ledger = Ledger(store, shard.run if shard else name, budget)  # all shards of a run write one bill
    if ledger.damage:
        get_run_logger().warning(ledger.damage)
    run = Run(f"{shard.run}-shard-{name}" if shard else name, pack, asking, store, models, ledger)
    _RUN.set(run)
    moving_line().spent = lambda: ledger.bill.usd
    await publish_studio_link("/live", "live", "Watch it in the studio")
    # the collector looks at all that the libraries made when they were imported, again and again: a tenth of a call's time
    gc.freeze()
    gc.set_threshold(GARBAGE)
    return run


def continue_as(run: Run) -> Run:
    """Let the stages that a flow starts from here on join this run."""
    _RUN.set(run)
    return run


async def open_model(run: Run, choice: ModelChoice) -> ChatModel:
    """Return a model whose calls are limited, retried and billed to the run."""
    model = await load_chat_model(choice, run.pack, run.windows.get(choice.reference))
    return Caller(model, run.limiter(choice), run.settings.calls, prices_of(run.settings, choice.reference, choice.block), run.ledger, get_run_logger().warning)


async def open_recalled(run: Run, choice: ModelChoice, name: str) -> RecalledModel:
    """Return a model whose answers are kept until what they are for is stored.

    Args:
        name: of that, different for another request.
    """
    model = RecalledModel(await open_model(run, choice), run.store, name, LOCK.get())
    if model.damage:
        get_run_logger().warning(model.damage)
    return model


@asynccontextmanager
async def designing(run: Run, name: str) -> AsyncGenerator[RecalledModel]:
    """Hold the designer's slot, and keep its answers until what they are for is stored; those that come to no valid result are asked for again."""
    model = await open_recalled(run, run.model("designer"), name)
    async with concurrency_slot(run, ("designer",)):
        try:
            yield model
        except DesignError:
            model.remove()
            raise


@asynccontextmanager
async def concurrency_slot(run: Run, roles: Sequence[RoleName], *others: ModelChoice) -> AsyncGenerator[None]:
    """Hold a slot of the models' concurrency limits, if the server has any (deployments/setup.py).

    Args:
        others: models beside those of the roles.
    """
    wanted = {limit_name(choice.block or choice.reference) for choice in [*others, *(choice for role in roles for choice in run.models[role])]}
    async with get_client() as client:
        limited = {limit.name for limit in await client.read_global_concurrency_limits(limit=200, offset=0)}
    if names := sorted(wanted & limited):
        # a run that was killed keeps its places until its lease is over; one whose server is away for a moment continues
        async with concurrency(names, occupy=1, strict=True, lease_duration=LEASE_SECONDS, raise_on_lease_renewal_failure=False):
            yield
    else:
        yield


def limit_name(model: str) -> str:
    """Return the name of a model's global concurrency limit."""
    return "understudy-" + re.sub(r"[^a-zA-Z0-9.]+", "-", model).strip("-").lower()


def log_bill(run: Run) -> None:
    """Log what the run has cost so far."""
    if run.ledger.bill.calls:
        get_run_logger().info("The run so far: %s.", run.ledger.bill)


async def choose_models(settings: Settings, flow: str, pack: Pack, saved: bool = True) -> dict[RoleName, list[ModelChoice]]:
    """Return the models of each role that a flow asks.

    Args:
        saved: whether saved blocks are looked up too; only the server has them.

    Raises:
        SettingsError: a model that cannot be asked, two judges that are the same model, or a panel that does not fit the rubric.
    """
    check_rubric(pack.rubric, settings)
    bound = settings.roles.bound(flow)
    mends: list[RoleName] = ["repairer"] if flow == "nightly" and settings.repair.by_night else []
    roles = [*ROLES.get(flow, ()), *mends]
    models = {role: [await choose_model(settings, name, pack) for name in bound.get(role, []) if saved or "/" in name] for role in roles}
    judges = [choice.reference for choice in models.get("judge", [])]
    if twice := sorted({judge for judge in judges if judges.count(judge) > 1}):
        raise SettingsError(f"roles.judges names {twice[0]} more than once. A panel is of different models; repeat=… says how stable one judge is.")
    return models


async def choose_model(settings: Settings, name: str, pack: Pack) -> ModelChoice:
    """Return a model by its name in the settings, after a check that it can be asked and that the budget can be kept.

    Raises:
        SettingsError: an unknown name or option, no key, no price, or the like.
    """
    choice = choose(name, model_settings(settings, name).options) if "/" in name else await choose_saved(name)
    await load_chat_model(choice, pack)
    check_price(settings, choice.reference, choice.block)
    return choice
