"""The models of a chat: their GGUF files, system prompts, origins and sampling options. This module does not need Prefect."""

import json
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Any

from blocks.llama_launch import Launch, check_gguf
from core.errors import JobError, SettingsError, nearest
from core.packs.pack import Pack
from core.settings.model_names import model_settings
from core.settings.pipeline import Settings
from core.storage.store import open_store
from core.training.export_facts import export_facts
from core.training.latest import Exported, latest_exports

UNDERSTUDY, BASE = "understudy", "base"
_SYSTEM = re.compile(r'^SYSTEM """(.*?)"""$', re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Chosen:
    """How the models are run: the options of `models.llama-server.options` and of the command line, merged."""

    launch: dict[str, Any]
    program: str
    temperature: float
    max_tokens: int


@dataclass(frozen=True)
class Part:
    """A model that answers in a chat.

    Args:
        name: the name shown before each answer.
        path: path of the GGUF.
        system: system prompt of the training; if the file does not come from an export, the pack's.
        about: one line about the model's origin.
        caveats: warnings about what the model must not be used for.
    """

    name: str
    path: Path
    system: str
    about: str
    caveats: tuple[str, ...] = ()


def find_parts(pack: Pack, model: Path | None, against: str | None) -> list[Part]:
    """Return the models that answer, the understudy last.

    Args:
        model: the understudy's GGUF; None for the latest export's.
        against: the other model: `base` for the base model of the latest export, or the path of a GGUF; None for no other model.

    Raises:
        JobError: the data root has no export of the domain.
        SettingsError: a file does not exist or cannot be loaded, or both models are the same file.
    """
    understudy = _from_file(UNDERSTUDY, model, pack) if model else _from_export(UNDERSTUDY, _exported(pack), pack)
    if against is None:
        return [understudy]
    if against == BASE:
        other = _from_export(BASE, _exported(pack), pack)
    else:
        path = Path(against)
        if not path.is_file():
            raise SettingsError(f"--against is {against!r}, which is not a file.{nearest(against, [BASE])} Allowed: {BASE}, or the path of a GGUF.")
        other = _from_file(path.stem if path.stem != UNDERSTUDY else "other", path, pack)
    if other.path.samefile(understudy.path):
        raise SettingsError(f"Both are the same file ({other.path}). Name another one with --model or --against.")
    # both models get the system prompt of the trained one
    return [Part(other.name, other.path, understudy.system, other.about, other.caveats), understudy]


def _exported(pack: Pack) -> Exported:
    exported = latest_exports(open_store(), pack.name, None, None, None)
    if exported is None:
        raise JobError(
            f"No export of {pack.name} in {open_store().root} yet. Run `understudy run demo` or `understudy export` first, or name the file of a "
            "model: understudy chat --model FILE."
        )
    return exported


def _from_export(name: str, exported: Exported, pack: Pack) -> Part:
    store, model = open_store(), exported.understudy if name == UNDERSTUDY else exported.base
    record = store.load_json(f"{model.path}/export.json")
    path = store.local(f"{model.path}/{export_facts(record).main}")
    check_gguf(path)
    base = str(record.get("base") or exported.base.name).rstrip("/").rpartition("/")[2]
    if name == BASE:
        return Part(name, path, _system(path, pack), f"{base}, as it is")
    data = exported.dataset
    about = f"{base}, trained on {data.examples:,} examples from {data.transcripts:,} conversations of {pack.name}"
    modified = datetime.fromtimestamp(path.stat().st_mtime).astimezone()
    return Part(name, path, _system(path, pack), f"{about}, made {modified:%Y-%m-%d %H:%M}", _caveats(data.path))


def _from_file(name: str, path: Path, pack: Pack) -> Part:
    check_gguf(path)
    return Part(name, path, _system(path, pack), "what it was trained on is not known")


def _system(path: Path, pack: Pack) -> str:
    """Return the system prompt of the training, from the export's export.json or Modelfile, or else the pack's, which may have changed since."""
    report, modelfile = path.parent / "export.json", path.parent / "Modelfile"
    with suppress(OSError, ValueError, LookupError, TypeError):
        return str(json.loads(report.read_text(encoding="utf-8"))["system"])
    match = _SYSTEM.search(modelfile.read_text(encoding="utf-8")) if modelfile.is_file() else None
    return match[1].rstrip("\n") if match else pack.system()


def _caveats(dataset: str) -> tuple[str, ...]:
    store, name = open_store(), f"{dataset}/manifest.json"
    manifest: Mapping[str, Any] = store.load_json(name) if store.exists(name) else {}
    return tuple(manifest.get("caveats", ()))


def play_options(config: Settings, temperature: float | None, max_tokens: int | None) -> Chosen:
    """Return the options with which the models of a chat are run.

    Args:
        temperature: sampling temperature; None for the settings' value.
        max_tokens: maximum tokens of an answer; None for the settings' value.

    Raises:
        SettingsError: an option is unknown, or a number is out of its bounds.
    """
    options: dict[str, Any] = {"temperature": 0.7, "program": ""} | model_settings(config, "llama-server/chat").options
    sampling, program = options.pop("temperature"), options.pop("program")
    options.pop("slots", None)  # a chat is one conversation, which gets the whole context
    allowed = sorted({item.name for item in fields(Launch)} - {"model_path", "page", "slots"})
    if unknown := sorted(set(options) - set(allowed)):
        raise SettingsError(f"models.llama-server takes no option {unknown[0]!r}. Allowed: {', '.join([*allowed, 'program', 'slots', 'temperature'])}.")
    sampling = sampling if temperature is None else temperature
    room = config.evaluation.max_tokens if max_tokens is None else max_tokens
    if sampling < 0 or room < 1:
        raise SettingsError(f"--temperature is {sampling:g} and --max-tokens {room}. Allowed: 0 or more, and 1 or more.")
    return Chosen(options, program, sampling, room)
