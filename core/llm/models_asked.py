"""Checks the names of the models that a flow uses, from the settings alone, before a server is started or Prefect is imported."""

from collections.abc import Mapping
from typing import Any

from core.errors import SettingsError
from core.llm.prices import PriceList, Unknown, price_list
from core.llm.run import ROLES
from core.settings.arms import TEACHER, read_arms
from core.settings.model_names import model_settings, split_reference
from core.settings.pipeline import Settings
from core.settings.provider_options import LOCAL, OPTIONS

EVALUATES = ("evaluation", "pipeline", "release")
"""Flows that evaluate the arms of the settings."""


def models_named(settings: Settings, flow: str, asked: Mapping[str, Any]) -> list[str]:
    """Return the models that a flow's parameters and the evaluation's arms name, in addition to those of its roles.

    Args:
        settings: the settings.
        flow: name of the flow.
        asked: the flow's parameters.

    Raises:
        SettingsError: an arm is malformed.
    """
    arms = read_arms({**settings.evaluation.arms, **(asked.get("arms") or {})} if flow in EVALUATES else {})
    models = [settings.roles.assistant if arm.model == TEACHER else arm.literal for arm in arms.values()]
    return [*filter(None, [*models, asked.get("model")]), *judges_named(asked)]


def judges_named(asked: Mapping[str, Any]) -> list[str]:
    """Return the judges that a flow's parameters name to replace those of the settings."""
    return [name.strip() for name in (asked.get("judges") or "").split(",") if name.strip()]


def with_judges(settings: Settings, asked: Mapping[str, Any]) -> Settings:
    """Return settings with the judges that a flow's parameters name, if they name any."""
    judges = judges_named(asked)
    return settings.model_copy(update={"roles": settings.roles.model_copy(update={"judges": judges})}) if judges else settings


def prices_of(settings: Settings, reference: str, block: str | None = None, batch: bool = False) -> PriceList:
    """Return the prices of a model.

    Args:
        settings: the settings.
        reference: `provider/model`.
        block: name of the saved block that defines the model; None if none does.
        batch: whether its calls are in a batch.
    """
    return price_list(reference, model_settings(settings, reference, block).price, reference.partition("/")[0] in LOCAL, batch)


def check_price(settings: Settings, reference: str, block: str | None = None) -> None:
    """Check that the cost of a model's calls can be computed if there is a budget in USD.

    Raises:
        SettingsError: there is such a budget, and no price is known.
    """
    if settings.budget.usd is not None and isinstance(prices_of(settings, reference, block), Unknown):
        raise SettingsError(
            f"No price is known for {reference}, so budget.usd cannot be kept. Give models.{reference}.price (USD per million tokens), or set "
            "budget.usd to null and budget.tokens to a number."
        )


def check_names(settings: Settings, flow: str, asked: Mapping[str, Any]) -> None:
    """Check the names and prices of the models that a flow uses. Saved blocks are known only to the server and are checked later.

    Args:
        settings: the settings.
        flow: name of the flow.
        asked: the flow's parameters.

    Raises:
        SettingsError: a model has an unknown provider or no price, or an entry of `models` is not used.
    """
    bound = with_judges(settings, asked).roles.bound(flow)
    names = [*(name for role in ROLES.get(flow, ()) for name in bound.get(role, [])), *models_named(settings, flow, asked)]
    for name in names:
        if "/" in name:
            split_reference(name, OPTIONS)
            check_price(settings, name)
    settings.check_entries(models_named(settings, flow, asked))
