"""Load a chat model by its name, with one client per model and event loop."""

import asyncio
import importlib
from pathlib import Path
from typing import Any, Protocol, runtime_checkable
from weakref import WeakKeyDictionary

from prefect.blocks.abstract import CredentialsBlock
from pydantic import SecretStr, ValidationError

from blocks.scripted import Scripted
from core.errors import SettingsError
from core.fingerprint import fingerprint
from core.llm.chat import ChatModel
from core.llm.window import Window
from core.packs.pack import Pack
from core.records import ModelChoice
from core.settings.keys import refuse_keys
from core.settings.model_names import split_reference
from core.settings.provider_options import FILES
from core.storage.store import open_store
from core.yaml_files import explain

PROVIDERS = {
    "scripted": "Scripted",
    "llama-cpp": "LlamaCpp",
    "llama-server": "LlamaServer",
    "anthropic": "Anthropic",
    "openai": "OpenAI",
    "openai-compatible": "OpenAICompatible",
    "google": "Google",
    "claude-cli": "ClaudeCli",
}
"""Each provider's block class, which is in the module of the provider's name. A module is imported on first use, because an SDK takes up to a second."""


@runtime_checkable
class Closable(Protocol):
    """A model that holds memory or a process."""

    async def aclose(self) -> None:
        """Release them."""
        ...


_CLIENTS: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[tuple[str, Window | None], ChatModel]] = WeakKeyDictionary()


def block_class(provider: str) -> type[CredentialsBlock]:
    """Return a provider's block class."""
    return getattr(importlib.import_module(f"blocks.{provider.replace('-', '_')}"), PROVIDERS[provider])


def choose(reference: str, options: dict[str, Any]) -> ModelChoice:
    """Check `provider/model` and its options.

    Raises:
        SettingsError: an unknown provider or option, or a key among the options.
    """
    provider, _ = split_reference(reference, PROVIDERS)
    _block(provider, reference, options)
    return ModelChoice(reference=reference, options=options)


async def choose_saved(name: str) -> ModelChoice:
    """Return the choice of the model that a saved block describes.

    Raises:
        SettingsError: no saved block has this name, or blocks of several providers have it.
    """
    refuse_keys({"the model reference": name})
    saved = [(provider, block) for provider in PROVIDERS if (block := await _load(provider, name))]
    if len(saved) != 1:
        what = f"{len(saved)} saved blocks are" if saved else "No saved block is"
        raise SettingsError(
            f"{what} called {name!r}. Name a model as provider/model ({', '.join(PROVIDERS)}), or save one block of that name on the server that "
            "PREFECT_API_URL names (`make blocks`)."
        )
    provider, block = saved[0]
    options = {key: value for key, value in _values(block).items() if not isinstance(value, SecretStr)}
    refuse_keys({f"the saved block {name}, {option}": value for option, value in options.items()})
    model = options.pop("model", None) or options.pop("name", None) or options.pop("model_path", None)
    return ModelChoice(reference=f"{provider}/{model}", options=options, block=name)


async def load_chat_model(choice: ModelChoice, pack: Pack, window: Window | None = None) -> ChatModel:
    """Return the chosen model. There is one client per model, event loop and process.

    Args:
        choice: the model and its options; a relative path of a GGUF is below the data root.
        pack: domain pack, which the scripted provider plays.
        window: context window with which a GGUF is loaded, unless the choice's options set one; None for the options' own.

    Raises:
        SettingsError: the model cannot be loaded, for example because its key or its file is missing.
    """
    provider, model = split_reference(choice.reference, PROVIDERS)
    if provider == "scripted":
        return Scripted(name=model).get_client(pack)
    clients, key = _CLIENTS.setdefault(asyncio.get_running_loop(), {}), (fingerprint(choice), window)
    if key not in clients:
        loaded = window.options if window and provider in FILES else {}
        options = choice.options | {name: value for name, value in loaded.items() if name in block_class(provider).model_fields}
        block = await _load(provider, choice.block) if choice.block else _block(provider, choice.reference, options)
        if block is None:
            raise SettingsError(f"The saved block {choice.block!r} no longer exists. Save it again, or name a model as provider/model.")
        clients[key] = block.get_client()
    return clients[key]


async def close_chat_model(choice: ModelChoice) -> None:
    """Close a model of this event loop, and release its memory or process; `load_chat_model` then loads it again."""
    clients, name = _CLIENTS.get(asyncio.get_running_loop(), {}), fingerprint(choice)
    for key in [key for key in clients if key[0] == name]:
        model = clients.pop(key)
        if isinstance(model, Closable):
            await model.aclose()


def _block(provider: str, reference: str, options: dict[str, Any]) -> Any:
    kind, model = block_class(provider), reference.partition("/")[2]
    named = {"scripted": {"name": model}, **{key: {"model_path": model} for key in FILES}}.get(provider, {"model": model})
    allowed = sorted(set(kind.model_fields) - set(named) - {"api_key"})
    if unknown := sorted(set(options) - set(allowed)):
        raise SettingsError(
            f"{reference} takes no option {unknown[0]!r}. Allowed: {', '.join(allowed) or 'none'}; keys come from the environment or a saved block."
        )
    refuse_keys({f"{reference}, option {name}": value for name, value in options.items()})
    try:
        if provider in FILES:
            named = {"model_path": str(model_file(reference))}
        return kind(**named, **options)
    except ValidationError as invalid:
        raise SettingsError(f"{reference}: {explain(invalid)}") from invalid


def model_file(reference: str) -> Path:
    """Return the path of a model's GGUF; a relative path is below the data root."""
    path = reference.partition("/")[2]
    return Path(path) if Path(path).is_absolute() else open_store().local(path)


def _values(block: CredentialsBlock) -> dict[str, Any]:
    return {name: getattr(block, name) for name in type(block).model_fields if getattr(block, name) not in (None, "")}


async def _load(provider: str, name: str) -> Any:
    try:
        return await block_class(provider).aload(name)
    except ValueError:  # Prefect raises it if no such block exists
        return None
