"""What every training begins and ends with: repository, checkpoint, delivery."""

import argparse
import os
import time
from typing import Any, NamedTuple

from ..common.events import emit, silence_libraries
from ..common.hub import bound_silence, patiently
from ..common.repository import deliver, delivered, open_repository, refuse_public
from .checkpoints import (
    branch_of,
    fetch_checkpoint,
    find_checkpoint,
    remove_branch,
    remove_checkpoints,
)


class Opened(NamedTuple):
    """When the work began, and the branches of the repository, with their commits."""

    started: float
    branches: dict[str, str]


def open_training(arguments: argparse.Namespace) -> Opened | None:
    """Opens the repository; returns None if the result is there already."""
    started = time.monotonic()
    silence_libraries()
    # Makes the memory that the 16-bit weights used before quantisation available to the training,
    # which matters on a GPU of 24 GB.
    os.environ.setdefault("PYTORCH_CUDA_ALLOC_CONF", "expandable_segments:True")
    bound_silence()
    if arguments.trackio_project and (space := arguments.trackio_space):
        looking = f"looking at {space!r}"
        patiently(arguments, looking, lambda: refuse_public(arguments, space, "space"))
    branches, tags = open_repository(arguments) if arguments.push_to else ({}, {})
    if delivered(arguments, tags):
        if branch_of(arguments) in branches:
            remove_branch(arguments)
        return None
    return Opened(started, branches)


def start_from(
    arguments: argparse.Namespace, opened: Opened, identity: str
) -> dict[str, Any] | None:
    """Makes the output's folder and returns the checkpoint to resume from, if there is one."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "metrics.json").unlink(missing_ok=True)
    branch = branch_of(arguments)
    if branch in opened.branches:
        fetch_checkpoint(arguments, opened.branches[branch])
    return find_checkpoint(arguments, identity)


def close_training(
    arguments: argparse.Namespace, facts: dict[str, Any], loss: float, kind: str
) -> None:
    """Delivers the adapter and removes what only a run that resumes needs.

    Args:
        facts: `files` and `seconds` of it.
        loss: on the validation data, at the end.
        kind: what the commit calls the result.
    """
    if arguments.push_to:
        deliver(arguments, [*facts["files"], "metrics.json"], kind)
        remove_branch(arguments)
    remove_checkpoints(arguments)
    (arguments.output / "arithmetic.json").unlink(missing_ok=True)
    emit("done", output=str(arguments.output), validation_loss=loss, seconds=facts["seconds"])
