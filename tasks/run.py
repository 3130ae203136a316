"""How a run begins: everything that it will read is loaded and checked before anything is made or paid for."""

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
"""How long a killed run keeps its slot of a concurrency limit: the shortest lease that Prefect allows."""

GARBAGE = 20_000
"""Number of new objects after which Python's garbage collector looks for cycles."""

MAY_CHANGE: dict[str, Any] = dict.fromkeys(("budget", "calls", "models", "jobs", "nightly", "costs", "calibration"), True) | {"assessment": {"batch"}}
"""Settings that may change between attempts of one run, which keeps its name and its bill."""

_RUN: ContextVar[Run] = ContextVar("run")


async def begin_run(flow: str, domain: str, settings: str, shard: Shard | None = None, **asked: Any) -> Run:
    """Load and check everything that a run will read, before it makes or pays for anything; a stage of a running pipeline joins that run.

    Args:
        flow: the flow's name.
        domain: name of a domain pack.
        settings: path of the settings file.
        shard: the shard that the run makes, with the name of the run that started it; None outside a batch in shards.
        asked: the flow's other parameters.

    Raises:
        UnderstudyError: the first fault found in a parameter, the settings, the pack, a model's name or key, or the data root.
    """
    refuse_keys({f"parameter {name}": value for name, value in {"domain": domain, "settings": settings, **asked}.items()})
    config, pack = load_settings(settings), load_pack(domain)
    current, context = _RUN.get(None), FlowRunContext.get()
    if current and context and context.flow_run and context.flow_run.parent_task_run_id:
        return current
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
    # otherwise the collector repeatedly visits all objects that the imported libraries made, which takes a tenth of a call's time
    gc.freeze()
    gc.set_threshold(GARBAGE)
    return run


def continue_as(run: Run) -> Run:
    """Have the stages that a flow starts after this call join this run; return it."""
    _RUN.set(run)
    return run


async def open_model(run: Run, choice: ModelChoice) -> ChatModel:
    """Return a model whose calls are limited, retried and billed to the run."""
    model = await load_chat_model(choice, run.pack, run.windows.get(choice.reference))
    return Caller(model, run.limiter(choice), run.settings.calls, prices_of(run.settings, choice.reference, choice.block), run.ledger, get_run_logger().warning)


async def open_recalled(run: Run, choice: ModelChoice, name: str) -> RecalledModel:
    """Return a model whose answers are kept in the data root until the result that they are for is stored, so that a resumed run does not pay again.

    Args:
        run: the run.
        choice: the model.
        name: name of the result; answers are kept under it.
    """
    model = RecalledModel(await open_model(run, choice), run.store, name, LOCK.get())
    if model.damage:
        get_run_logger().warning(model.damage)
    return model


@asynccontextmanager
async def designing(run: Run, name: str) -> AsyncGenerator[RecalledModel]:
    """Yield the designer and hold its concurrency slot. Its answers are kept until the result that they are for is stored.

    If they lead to no valid result (DesignError), they are removed, so that the next run asks again.

    Args:
        run: the run.
        name: name of the result.
    """
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
        run: the run.
        roles: roles whose models are called in the block.
        others: further models that are called in the block.
    """
    needed = {limit_name(choice.block or choice.reference) for choice in [*others, *(choice for role in roles for choice in run.models[role])]}
    async with get_client() as client:
        limited = {limit.name for limit in await client.read_global_concurrency_limits(limit=200, offset=0)}
    if names := sorted(needed & limited):
        # a killed run keeps its slots until its lease ends; a run continues if the server does not answer for a moment
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
    """Return the models of each role that a flow needs.

    Args:
        settings: the settings.
        flow: the flow's name.
        pack: the domain pack.
        saved: whether saved blocks are looked up; only the server has them.

    Raises:
        SettingsError: a model cannot be used, two judges are the same model, or a panel does not fit the rubric.
    """
    check_rubric(pack.rubric, settings)
    bound = settings.roles.bound(flow)
    extra_roles: list[RoleName] = ["repairer"] if flow == "nightly" and settings.repair.by_night else []
    roles = [*ROLES.get(flow, ()), *extra_roles]
    models = {role: [await choose_model(settings, name, pack) for name in bound.get(role, []) if saved or "/" in name] for role in roles}
    judges = [choice.reference for choice in models.get("judge", [])]
    if twice := sorted({judge for judge in judges if judges.count(judge) > 1}):
        raise SettingsError(f"roles.judges names {twice[0]} more than once. A panel needs different models; repeat=… shows how stable one judge is.")
    return models


async def choose_model(settings: Settings, name: str, pack: Pack) -> ModelChoice:
    """Return a model by its name in the settings, after checks that it can be used and that its price is known if there is a budget.

    Raises:
        SettingsError: the name or an option is unknown, or key, price or program is missing.
    """
    choice = choose(name, model_settings(settings, name).options) if "/" in name else await choose_saved(name)
    await load_chat_model(choice, pack)
    check_price(settings, choice.reference, choice.block)
    return choice
