"""The first and last stages of every training: repository, checkpoint, delivery."""

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
    """An opened training: its start on the monotonic clock, and the repository's branches.

    Args:
        branches: name → commit.
    """

    started: float
    branches: dict[str, str]


def open_training(arguments: argparse.Namespace) -> Opened | None:
    """Open the repository; return None if the result already exists."""
    started = time.monotonic()
    silence_libraries()
    # Lets the training use the memory that the 16-bit weights occupied before quantisation, which
    # matters on a GPU with 24 GB.
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
    """Create the output folder; return the checkpoint to resume from, or None."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "metrics.json").unlink(missing_ok=True)
    branch = branch_of(arguments)
    if branch in opened.branches:
        fetch_checkpoint(arguments, opened.branches[branch])
    return find_checkpoint(arguments, identity)


def close_training(
    arguments: argparse.Namespace, facts: dict[str, Any], loss: float, kind: str
) -> None:
    """Deliver the adapter, and remove what only a resumed run needs.

    Args:
        facts: includes `files` and `seconds`.
        loss: the last validation loss.
        kind: name of the result in the commit's title.
    """
    if arguments.push_to:
        deliver(arguments, [*facts["files"], "metrics.json"], kind)
        remove_branch(arguments)
    remove_checkpoints(arguments)
    (arguments.output / "arithmetic.json").unlink(missing_ok=True)
    emit("done", output=str(arguments.output), validation_loss=loss, seconds=facts["seconds"])
