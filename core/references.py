"""Naming a model: `provider/model`, or the name of a saved block. A key is refused wherever a name or a parameter is expected."""

from collections.abc import Collection, Mapping
from typing import Any

from core.errors import SettingsError
from core.model_settings import ModelSettings
from core.redaction import holds_key
from core.settings import Settings


def split_reference(reference: str, providers: Collection[str]) -> tuple[str, str]:
    """Split `provider/model` at its first slash.

    Raises:
        SettingsError: there is no slash, no model, or no such provider.
    """
    refuse_keys({"the model reference": reference})
    provider, _, model = reference.partition("/")
    if provider not in providers or not model:
        raise SettingsError(f"Unknown model reference {reference!r}. Allowed: provider/model, with a provider of {', '.join(providers)}.")
    return provider, model


def refuse_keys(values: Mapping[str, Any]) -> None:
    """Refuse values that hold a key, or an address with a password, however deep; parameters are stored and shown.

    Raises:
        SettingsError: names the place and not the key.
    """
    for place, value in values.items():
        if isinstance(value, Mapping):
            refuse_keys({f"{place}.{name}": inner for name, inner in value.items()} | {f"{place}: a name": name for name in value if isinstance(name, str)})
        elif isinstance(value, list | tuple):
            refuse_keys({f"{place}[{number}]": inner for number, inner in enumerate(value)})
        elif isinstance(value, str) and holds_key(value):
            raise SettingsError(
                f"{place} looks like a key, or an address with a password in it. Keys belong in an environment variable or a saved block, never in a parameter "
                "or a file of settings, where they are stored and shown. Take it out, and replace it with the provider if it was sent anywhere."
            )


def model_settings(settings: Settings, reference: str, block: str | None = None) -> ModelSettings:
    """Return what the settings say of a model: its provider's entry, overridden by its own, overridden by that of the saved block."""
    entries = [settings.models[name] for name in (reference.partition("/")[0], reference, block) if name in settings.models]
    merged: dict[str, Any] = {"concurrency": settings.calls.concurrency}
    for entry in entries:
        given = entry.model_dump(exclude_unset=True)
        merged |= given | {"options": merged.get("options", {}) | given.get("options", {})}
    return ModelSettings.model_validate(merged)
