"""A tiny call to every model that the settings bind to a role. Only saved blocks need a Prefect server."""

import asyncio
from dataclasses import replace
from datetime import UTC, date, datetime

from pydantic import RootModel

from blocks.chat import load_chat_model
from core.errors import SettingsError, UnderstudyError
from core.judging.calibration import measured_judges
from core.llm.calls import Caller
from core.llm.chat import Usage
from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.models_asked import prices_of
from core.llm.probe import Check, check_model
from core.machine.stopping import run_stoppable
from core.packs.pack import load_pack
from core.paths import find_data
from core.records import RoleName
from core.settings.model_names import model_settings
from core.settings.pipeline import Settings, load_settings
from core.storage.store import open_store
from core.terminal import Answer, one_line
from core.yaml_files import load_yaml
from tasks.run import choose_model

Retirements = RootModel[dict[str, dict[str, date]]]


async def check_models(settings: Settings, domain: str) -> list[Check]:
    """Check each model once, all at the same time; a failed call is not repeated."""
    calls = _without_retries(settings)
    by_model: dict[str, list[RoleName]] = {}
    for role, names in settings.roles.bound().items():
        for name in names:
            by_model.setdefault(name, []).append(role)
    return list(await asyncio.gather(*(_check(settings, calls, domain, name, roles) for name, roles in by_model.items())))


def _without_retries(settings: Settings) -> Settings:
    """Return settings under which a failure is reported immediately."""
    return settings.model_copy(update={"calls": settings.calls.model_copy(update={"attempts": 1, "total_seconds": 0.001, "timeout_seconds": 60.0})})


async def _check(settings: Settings, once: Settings, domain: str, name: str, roles: list[RoleName]) -> Check:
    role_names, pack, now = ", ".join(roles), load_pack(domain), datetime.now(UTC)
    try:
        choice = await choose_model(settings, name, pack)
    except UnderstudyError as error:
        return Check(role_names, name, problem=str(error))
    provider = choice.reference.partition("/")[0]
    limits = model_settings(settings, choice.reference, choice.block)
    prices = prices_of(settings, choice.reference, choice.block)
    ledger = Ledger(open_store(), f"check-models-{now:%Y%m%d}", settings.budget)
    caller = Caller(await load_chat_model(choice, pack), Limiter(choice.reference, limits, once.calls), once.calls, prices, ledger)
    read, written = prices.price(Usage(input_tokens=1000)), prices.price(Usage(output_tokens=1000))
    price = f"{1000 * read:g} in, {1000 * written:g} out (USD per million tokens, {prices.version})" if read is not None and written is not None else "unknown"
    if provider == "scripted":
        return Check(role_names, name, 0.0, limits="none", price=price)  # a scripted model cannot answer the test question
    retirements = load_yaml(find_data("config/retirements.yaml"), Retirements, SettingsError).root
    result = await check_model(role_names, roles[0], caller, price, retirements, now.date())
    return replace(result, model=name if choice.block is None else f"{name} ({choice.reference})")


def ask_models(domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> Answer:
    """Call each model of the settings once: whether it answers, how fast, and at what price.

    The exit code is 1 if a model cannot be used.

    Args:
        domain: name of a domain pack.
        settings: path of the settings file.
    """
    config = load_settings(settings)
    checks = run_stoppable(check_models(config, domain))
    measured = measured_judges(open_store(), load_pack(domain), (name for name in config.roles.judges if "/" in name), config.assessment.judging)
    lines = []
    for check in checks:
        lines.append(f"{'FAILS' if check.problem else 'ok':5}  {check.model}  ({check.roles})")
        facts = f"{check.seconds:.2f} s · structured output ok · limits: {check.limits} · price: {check.price}" if check.seconds is not None else ""
        lines.append(f"       {check.problem or facts}")
        if check.warning:
            lines.append(f"       Warning: {check.warning}")
    lines += measured
    failed = any(check.problem for check in checks)
    return Answer("\n".join(map(one_line, lines)), {"models": checks, "judges": measured}, 1 if failed else 0)
