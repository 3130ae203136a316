"""Receipts: what a finished command printed, and all that its answer rests on, so that the same command need not run to say the same again.

An answer follows from the files of the code and of the project (prompts, settings, job scripts, lock), from what the command was asked, and from the files
of the data root that it saw. A receipt holds for as long as all of these are as they were; whatever else might speak into an answer, a saved block or the
Hub, makes that none is written.
"""

import hashlib
import os
import sys
from dataclasses import asdict
from typing import Any

from core.errors import DamagedError
from core.fingerprint import fingerprint
from core.packs.places import roots
from core.paths import CODE, SHIPPED, project_path, user_path
from core.settings.pipeline import Settings, load_training
from core.storage.store import Store
from core.storage.traces import Trace, stamp

PACKAGES = ("flows", "tasks", "blocks", "core")
DATA = ("deployments", "config", "prompts", "pyproject.toml", "uv.lock")
REPEATABLE = ["pipeline", "release", "generation", "assessment", "repair", "preferences", "calibration", "dataset", "training", "export", "evaluation"]
"""Flows that make nothing when they are run again; a night, say, makes new conversations."""


def receipt_name(flow: str, given: dict[str, str], settings: Settings, store: Store) -> str | None:
    """Return the name of a command's receipt; none where its answer rests on more than files of the code, of the project and of the data root.

    Args:
        given: the parameters, as they were typed.
    """
    training = load_training(settings.training)
    models = [name for names in settings.roles.bound().values() for name in names]
    elsewhere = settings.jobs.where != "local" or {settings.dataset.hub, settings.export.hub} != {"local"} or not all("/" in name for name in models)
    asked = {name: value for name, value in given.items() if name != "settings"}
    plain = [settings.model_dump(mode="json"), training.model_dump(mode="json")]
    if flow not in REPEATABLE or not store.is_local or elsewhere or _names_a_file([asked, *({**part, "training": None} for part in plain)]):
        return None
    return f"receipts/{flow}-{fingerprint([flow, asked, plain, store.root, _code()])}.json"


def read_receipt(store: Store, name: str) -> dict[str, Any] | None:
    """Return a receipt; none if there is none, or if a file that its answer rests on is not as it was."""
    if not store.exists(name):
        return None
    try:
        receipt = store.load_json(name)
    except DamagedError:
        return None
    if not receipt.keys() >= {"files", "listings"}:
        return None
    root = store.local(name).parents[1]
    same = all(stamp(root / file) == state for file, state in receipt["files"].items())
    return receipt if same and all(store.names(one["folder"], one["ending"], one["beginning"]) == one["names"] for one in receipt["listings"]) else None


def write_receipt(store: Store, name: str, trace: Trace, summary: dict[str, Any]) -> None:
    """Write the receipt of a command that has ended well, unless somebody changed meanwhile what it had read.

    Args:
        summary: what the command said at its end.
    """
    appended = {file: stamp(trace.root / file) for file in trace.appended}
    store.write_json(name, {**summary, "files": trace.files | appended, "listings": [asdict(listing) for listing in trace.listings]})
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


def _names_a_file(value: Any) -> bool:
    """Say whether any text in plain data is the path of something that is there."""
    if isinstance(value, dict):
        return any(_names_a_file(one) for one in value.values())
    if isinstance(value, list):
        return any(_names_a_file(one) for one in value)
    if not isinstance(value, str) or len(value) > 1000 or "\n" in value:
        return False
    return any(os.path.exists(place(part.strip())) for part in [value, *value.split(",")] if part.strip() for place in (user_path, project_path))  # noqa: PTH110
