"""Errors of a training as sentences for the user."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module

from ..common.events import JobError, short
from .checkpoints import remove_branch, remove_checkpoints
from .soundness import DivergedError


@contextmanager
def failures_explained(arguments: argparse.Namespace) -> Generator[None]:
    """Turn errors of a training into a JobError. If it diverged, remove its checkpoints."""
    torch = import_module("torch")
    try:
        yield
    except DivergedError:
        remove_checkpoints(arguments)
        if arguments.push_to:
            remove_branch(arguments)
        raise
    except torch.OutOfMemoryError:
        wrong = f"The GPU's memory is too small for --max-length {arguments.max_length}"
        lower = "lower --max-length, add --offload-checkpoints, set --lora-dropout 0"
        raise JobError(f"{wrong}; {lower}, or take a larger GPU.") from None
    except OSError as error:
        look = f"check {str(arguments.output)!r} and the free disk space there"
        wrong = f"Training stopped ({short(error)})"
        raise JobError(f"{wrong}; {look}, and run the same command again.") from None
