"""Receipts: the output of a finished command and everything that it depends on, so that a repeated command can answer without running.

The output depends on the files of the code and of the project (prompts, settings, job scripts, lock), on the command's parameters, on the files that
parameters and settings name, and on the files of the data root that the command read. A receipt is valid while all of these are unchanged. If the output
also depends on something else, such as a saved block or the Hub, no receipt is written.
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
"""Flows that ask the Hub for the current commit of a base's branch."""
PUBLISHES = (*TRAINS, "dataset", "export", "evaluation")
"""Flows that publish, count tokens for what is published, or rent machines."""
REPEATABLE = (*PUBLISHES, "generation", "assessment", "repair", "preferences", "calibration", "critique", "design", "optimise_prompt", "pilot")
"""Flows that make nothing new when they run again; a night, for example, makes new conversations."""

MAX_FILES = 20_000
"""Maximum files below the folders that a command names, because each file is checked; with more there is no receipt."""
COMMIT = re.compile(r"[0-9a-f]{40}")
STARTS, ENDS = re.compile(r"[\s,:=]+|/"), re.compile(r"[\s,:=]+")
"""Separators before and after a path in a text: `base under mine.md`, `a.jsonl, b.jsonl`, `hf:folder`, `llama-server/base.gguf`."""
MAX_PARTS = 150
"""Maximum parts of a line of text that is searched for paths; with a longer line there is no receipt."""


def receipt_name(flow: str, parameters: Mapping[str, Any], settings: Settings, store: Store) -> str | None:
    """Return the name of a command's receipt, or None if its output depends on more than files of this machine.

    Args:
        flow: name of the flow.
        parameters: the flow's parameters, except those with their default.
        settings: the settings of the run.
        store: the data root.
    """
    training = load_training(settings.training)
    if flow not in REPEATABLE or not store.is_local or _depends_on_services(flow, parameters, settings, training):
        return None
    values = to_jsonable_python({name: value for name, value in parameters.items() if name != "settings"})
    plain = [settings.model_dump(mode="json"), training.model_dump(mode="json")]
    files = _named_files([values, *({**part, "training": None} for part in plain)])  # the content of the training file is in `plain` already
    return None if files is None else f"receipts/{flow}-{fingerprint([flow, values, plain, store.root, files, _code()])}.json"


def _depends_on_services(flow: str, parameters: Mapping[str, Any], settings: Settings, training: Training) -> bool:
    """Return whether a flow asks a saved block, the Hub or a job service, whose answers may change."""
    models = [*(name for names in settings.roles.bound().values() for name in names), *models_named(settings, "evaluation", parameters)]
    base, tokenizer = training.base, settings.dataset.tokenizer.removeprefix("hf:")
    return (
        not all("/" in name for name in models)
        or (flow in PUBLISHES and (settings.jobs.where, settings.dataset.hub, settings.export.hub) != ("local", "local", "local"))
        or (flow in PUBLISHES and tokenizer != settings.dataset.tokenizer and not project_path(tokenizer).is_dir())
        or (flow in TRAINS and base.kind == "hub" and not COMMIT.fullmatch(base.revision or ""))
    )


class Receipt(BaseModel):
    """The output of a command, and the state of the data root that it read.

    Args:
        at: time at which the command ended.
        warnings, table, summary: the output.
        files: state of each file that was read; None for a file that did not exist.
        listings: listings of folders that were read.
    """

    at: str
    warnings: list[str]
    table: str
    summary: dict[str, Any]
    files: dict[str, Stamp | None]
    listings: list[Listing]


def read_receipt(store: Store, name: str) -> Receipt | None:
    """Return a receipt; None if it does not exist, is damaged, or a file or folder on which it depends has changed."""
    if not store.exists(name):
        return None
    try:
        receipt, root = store.load(name, Receipt), store.local(name).parents[1]
        same = all(stamp(root / file) == state for file, state in receipt.files.items())
        return receipt if same and all(store.names(item.folder, item.ending, item.beginning) == item.names for item in receipt.listings) else None
    except (StoreError, ValueError):  # ValueError: a NUL in a name. Without a receipt the command runs
        return None


def write_receipt(store: Store, name: str, trace: Trace, output: Mapping[str, Any]) -> None:
    """Write the receipt of a successful command, unless something that it read has changed since.

    Args:
        store: the data root.
        name: name of the receipt.
        trace: what the command read of the data root.
        output: `at`, `warnings`, `table` and `summary`.
    """
    appended = {file: stamp(trace.root / file) for file in trace.appended}
    store.write_json(name, {**output, "files": trace.files | appended, "listings": [asdict(listing) for listing in trace.listings]})
    if read_receipt(store, name) is None:
        store.remove(name)


def _code() -> str:
    """Return a hash of all files of the code, of the project and of the user's packs, on which an output may depend."""
    digest = hashlib.sha256(sys.version.encode())
    installed = sorted(path.name for path in CODE.glob("*.dist-info"))  # of an installed wheel; a checkout has a lock file
    digest.update("\n".join(installed).encode())
    places = [CODE / name for name in PACKAGES] + [SHIPPED / name for name in DATA] + [root / name for root in roots()[1:] for name in ("config", "prompts")]
    for place in places:
        for path in [place] if place.is_file() else sorted(place.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                digest.update(f"{path}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _named_files(values: Any) -> dict[str, Any] | None:
    """Return the state of all files and folders that plain data names, including everything below them.

    The result may have more files than the command reads, because a word may be a folder's name by chance. It is None if there are too many files, or if
    a link makes them unknowable.
    """
    states: dict[str, Any] = {}
    for text in _texts(values):
        parts = _parts(text)
        if parts is None:
            return None
        for path in {place(part) for part in parts for place in (user_path, project_path)}:
            if str(path) in states or not os.path.exists(path):  # noqa: PTH110  False for a text that cannot be a path
                continue
            states[str(path)] = stamp(path)
            for folder, folders, files in os.walk(path):
                states |= {str(inner): stamp(inner) for inner in (Path(folder, name) for name in files)}
                if len(states) > MAX_FILES or any(Path(folder, name).is_symlink() for name in folders):  # a link may lead anywhere
                    return None
    return states


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _texts(item)
    elif isinstance(value, str) and "\n" not in value:
        yield value


def _parts(text: str) -> set[str] | None:
    """Return a text and all its parts that can be a path, or None if it has too many parts."""
    starts = [0, *(match.end() for match in STARTS.finditer(text))]
    ends = [*(match.start() for match in ENDS.finditer(text)), len(text)]
    return {text[start:end] for start in starts for end in ends if start < end} if len(starts) <= MAX_PARTS else None
