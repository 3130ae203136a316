"""Names of models: `provider/model`, or the name of a saved block. A key in place of a name is rejected."""

from collections.abc import Collection
from typing import Any

from core.errors import SettingsError, nearest
from core.settings.keys import refuse_keys
from core.settings.models import ModelSettings
from core.settings.pipeline import Settings


def split_reference(reference: str, providers: Collection[str]) -> tuple[str, str]:
    """Split `provider/model` at its first slash.

    Raises:
        SettingsError: there is no slash or no model, the provider is unknown, or the reference contains a key.
    """
    refuse_keys({"the model reference": reference})
    provider, _, model = reference.partition("/")
    if provider not in providers or not model:
        suggestion = nearest(provider, providers) if provider not in providers else ""
        raise SettingsError(f"Unknown model reference {reference!r}.{suggestion} Allowed: provider/model, with a provider of {', '.join(providers)}.")
    return provider, model


def model_settings(settings: Settings, reference: str, block: str | None = None) -> ModelSettings:
    """Return the settings of a model: those of its provider, overridden by those of the model, overridden by those of the saved block."""
    entries = [settings.models[name] for name in (reference.partition("/")[0], reference, block) if name in settings.models]
    merged: dict[str, Any] = {"concurrency": settings.calls.concurrency}
    for entry in entries:
        fields = entry.model_dump(exclude_unset=True)
        merged |= fields | {"options": merged.get("options", {}) | fields.get("options", {})}
    return ModelSettings.model_validate(merged)
