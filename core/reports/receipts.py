"""Receipts: what a finished command printed, and all that its answer rests on, so that the same command need not run to say the same again.

An answer follows from the files of the code and of the project (prompts, settings, job scripts, lock), from what the command was asked, from the files
that its parameters and settings name, and from the files of the data root that it saw. A receipt holds for as long as all of these are as they were;
whatever else might speak into an answer, a saved block or the Hub, makes that none is written.
"""

import hashlib
import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from core.errors import StoreError
from core.fingerprint import fingerprint
from core.llm.models_asked import models_named
from core.packs.places import roots
from core.paths import CODE, SHIPPED, project_path, user_path
from core.settings.jobs import Training
from core.settings.pipeline import Settings, load_training
from core.storage.store import Store
from core.storage.traces import Listing, Stamp, Trace, stamp

PACKAGES = ("flows", "tasks", "blocks", "core")
DATA = ("deployments", "config", "prompts", "pyproject.toml", "uv.lock")
TRAINS = ("pipeline", "release", "improvement", "training")
"""Flows that ask the Hub which commit a base's branch has today."""
PUBLISHES = (*TRAINS, "dataset", "export", "evaluation")
"""Flows that publish, count tokens for what is published, or rent machines."""
REPEATABLE = (*PUBLISHES, "generation", "assessment", "repair", "preferences", "calibration", "critique", "design", "optimise_prompt", "pilot")
"""Flows that make nothing when they are run again; a night, say, makes new conversations."""

MOST_FILES = 20_000
"""Files below the folders that a command names, each of which is looked at; of more there is no receipt."""
COMMIT = re.compile(r"[0-9a-f]{40}")
STARTS, ENDS = re.compile(r"[\s,:=]+|/"), re.compile(r"[\s,:=]+")
"""Before and after a path in a text: `base under mine.md`, `a.jsonl, b.jsonl`, `hf:folder`, `llama-server/base.gguf`."""
MOST_PARTS = 150
"""Words of a text that are looked at for paths; with a longer one, in one line, there is no receipt."""


def receipt_name(flow: str, given: Mapping[str, Any], settings: Settings, store: Store) -> str | None:
    """Return the name of a command's receipt; none where its answer rests on more than files of this machine.

    Args:
        given: the flow's parameters, except those with their default.
    """
    training = load_training(settings.training)
    if flow not in REPEATABLE or not store.is_local or _asks_elsewhere(flow, given, settings, training):
        return None
    asked = to_jsonable_python({name: value for name, value in given.items() if name != "settings"})
    plain = [settings.model_dump(mode="json"), training.model_dump(mode="json")]
    named = _named_files([asked, *({**part, "training": None} for part in plain)])  # what a settings file says is there already
    return None if named is None else f"receipts/{flow}-{fingerprint([flow, asked, plain, store.root, named, _code()])}.json"


def _asks_elsewhere(flow: str, given: Mapping[str, Any], settings: Settings, training: Training) -> bool:
    """Say whether a flow asks a saved block, the Hub or a service of jobs, which may answer otherwise tomorrow."""
    models = [*(name for names in settings.roles.bound().values() for name in names), *models_named(settings, "evaluation", given)]
    base, tokenizer = training.base, settings.dataset.tokenizer.removeprefix("hf:")
    return (
        not all("/" in name for name in models)
        or (flow in PUBLISHES and (settings.jobs.where, settings.dataset.hub, settings.export.hub) != ("local", "local", "local"))
        or (flow in PUBLISHES and tokenizer != settings.dataset.tokenizer and not project_path(tokenizer).is_dir())
        or (flow in TRAINS and base.kind == "hub" and not COMMIT.fullmatch(base.revision or ""))
    )


class Receipt(BaseModel):
    """What a command said at its end, and what it had seen of the data root."""

    at: str
    warnings: list[str]
    table: str
    summary: dict[str, Any]
    files: dict[str, Stamp | None]
    listings: list[Listing]


def read_receipt(store: Store, name: str) -> Receipt | None:
    """Return a receipt; none if there is none, if it is damaged, or if a file that its answer rests on is not as it was."""
    if not store.exists(name):
        return None
    try:
        receipt, root = store.load(name, Receipt), store.local(name).parents[1]
        same = all(stamp(root / file) == state for file, state in receipt.files.items())
        return receipt if same and all(store.names(one.folder, one.ending, one.beginning) == one.names for one in receipt.listings) else None
    except (StoreError, ValueError):  # ValueError: a NUL in a name. Without a receipt the command runs
        return None


def write_receipt(store: Store, name: str, trace: Trace, said: Mapping[str, Any]) -> None:
    """Write the receipt of a command that has ended well, unless somebody changed meanwhile what it had read.

    Args:
        said: at its end: `at`, `warnings`, `table` and `summary`.
    """
    appended = {file: stamp(trace.root / file) for file in trace.appended}
    store.write_json(name, {**said, "files": trace.files | appended, "listings": [asdict(listing) for listing in trace.listings]})
    if read_receipt(store, name) is None:
        store.remove(name)


def _code() -> str:
    """Return a hash of all files of the code, of the project, and of the user's own packs, on which an answer may depend."""
    digest = hashlib.sha256(sys.version.encode())
    installed = sorted(path.name for path in CODE.glob("*.dist-info"))  # of a wheel: in a checkout the lock says it
    digest.update("\n".join(installed).encode())
    places = [CODE / name for name in PACKAGES] + [SHIPPED / name for name in DATA] + [root / name for root in roots()[1:] for name in ("config", "prompts")]
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _named_files(values: Any) -> dict[str, Any] | None:
    """Return the state of all files and folders that texts in plain data name, with all that is below them; none if these are too many, or not to be known.

    More may be named than is read: a word may be a folder's name by chance.
    """
    found: dict[str, Any] = {}
    for text in _texts(values):
        parts = _parts(text)
        if parts is None:
            return None
        for path in {place(part) for part in parts for place in (user_path, project_path)}:
            if str(path) in found or not os.path.exists(path):  # noqa: PTH110  False for what can be no name
                continue
            found[str(path)] = stamp(path)
            for folder, folders, files in os.walk(path):
                found |= {str(inner): stamp(inner) for inner in (Path(folder, name) for name in files)}
                if len(found) > MOST_FILES or any(Path(folder, name).is_symlink() for name in folders):  # a link may lead anywhere
                    return None
    return found


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _texts(one)
    elif isinstance(value, str) and "\n" not in value:
        yield value


def _parts(text: str) -> set[str] | None:
    """Return a text and what in it can be a path; none where it is too long."""
    starts = [0, *(found.end() for found in STARTS.finditer(text))]
    ends = [*(found.start() for found in ENDS.finditer(text)), len(text)]
    return {text[start:end] for start in starts for end in ends if start < end} if len(starts) <= MOST_PARTS else None
