"""Checkpoints from which a run resumes: on disk, and on a branch of the Hub repository."""

import argparse
import hashlib
import json
import shutil
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import Any

from ..common.events import JobError, emit
from ..common.hub import hub, patiently
from ..common.repository import commit
from .data import Example

FREE = {
    *("train", "validation", "dataset", "dataset_revision", "base", "base_revision", "output"),
    *("chat_template", "allow_truncated", "save_steps", "push_to", "push_tag", "public"),
    *("retry_seconds", "trackio_project", "trackio_space"),
}
"""Options that may differ between a run and the one that resumes from its checkpoint. Base and data
are compared by content."""
COMPLETE = "complete.json"
"""The file that is written last into a checkpoint."""
UNUSED = "training_args.bin"
"""A file of checkpoints that no run reads."""


def branch_of(arguments: argparse.Namespace) -> str:
    return f"checkpoints-{arguments.push_tag}"


def identify(
    arguments: argparse.Namespace, examples: dict[str, list[Example]], cuda: bool, arithmetic: str
) -> str:
    """Return a hash of everything that determines the trained weights."""
    digest = hashlib.sha256()
    for rows in examples.values():
        for example in rows:
            columns = b"".join(column.tobytes() for column in example)
            digest.update(len(example.ids).to_bytes(4, "little") + columns)
    base: Any = [arguments.base, arguments.base_revision]
    if Path(arguments.base).is_dir():
        files = [(path.name, path.stat()) for path in Path(arguments.base).iterdir()]
        base = sorted((name, stat.st_size, stat.st_mtime_ns) for name, stat in files)
    knobs = {name: value for name, value in vars(arguments).items() if name not in FREE}
    digest.update(json.dumps([knobs, base, cuda, arithmetic], sort_keys=True).encode())
    return digest.hexdigest()


def find_checkpoint(arguments: argparse.Namespace, identity: str) -> dict[str, Any] | None:
    """Return the facts of the newest complete checkpoint with the same arguments and data.

    None, with a warning if there are others, if there is no such checkpoint.
    """
    paths = arguments.output.glob(f"checkpoint-*/{COMPLETE}")
    checkpoints = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
    matches = [facts for facts in checkpoints if facts["identity"] == identity]
    if checkpoints and not matches:
        wrong = "The existing checkpoint was made with other arguments or data"
        emit("warning", text=f"{wrong}; training starts from the beginning.")
    return max(matches, key=lambda facts: facts["step"]) if matches else None


def remove_checkpoints(arguments: argparse.Namespace, but: Path | None = None) -> None:
    for folder in arguments.output.glob("checkpoint-*"):
        if folder != but:
            shutil.rmtree(folder, ignore_errors=True)


def push_checkpoint(arguments: argparse.Namespace, folder: Path, step: int) -> None:
    """Replace the checkpoint on the branch; warn if that fails."""
    repo, branch = arguments.push_to, branch_of(arguments)
    paths = [path for path in folder.iterdir() if path.name != UNUSED]
    files = {f"checkpoint/{path.name}": path for path in paths}
    making = f"creating the branch {branch!r}"
    try:
        patiently(
            arguments, making, lambda: hub().create_branch(repo, branch=branch, exist_ok=True)
        )
        commit(arguments, branch, files, f"Checkpoint at step {step}")
    except JobError as error:
        emit("warning", text=f"The checkpoint at step {step} is not on the Hub. {error.args[0]}")
    else:
        emit("checkpoint", step=step, where=f"{repo}@{branch}")


def fetch_checkpoint(arguments: argparse.Namespace, revision: str) -> None:
    """Download the checkpoint of an earlier job into this job's output."""
    api, repo, part = hub(), arguments.push_to, arguments.output / ".fetched"
    doing = f"downloading the checkpoint from {repo!r}"
    shutil.rmtree(part, ignore_errors=True)
    files = patiently(arguments, doing, lambda: api.list_repo_files(repo, revision=revision))
    names = [name for name in files if name.startswith("checkpoint/")]
    place = {"revision": revision, "local_dir": part}
    for name in names:
        patiently(arguments, doing, lambda name=name: api.hf_hub_download(repo, name, **place))
    if f"checkpoint/{COMPLETE}" in names:
        facts = json.loads((part / "checkpoint" / COMPLETE).read_text(encoding="utf-8"))
        folder = arguments.output / f"checkpoint-{facts['step']}"
        shutil.rmtree(folder, ignore_errors=True)
        (part / "checkpoint").rename(folder)
    shutil.rmtree(part, ignore_errors=True)


def remove_branch(arguments: argparse.Namespace) -> None:
    def remove() -> None:
        with suppress(import_module("huggingface_hub.errors").RevisionNotFoundError):
            hub().delete_branch(arguments.push_to, branch=branch_of(arguments))

    try:
        patiently(arguments, "removing the checkpoints' branch", remove)
    except JobError as error:
        emit("warning", text=error.args[0])
