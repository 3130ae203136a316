"""Why a training failed, in one sentence."""

import argparse
from collections.abc import Generator
from contextlib import contextmanager
from importlib import import_module

from ..common.events import JobError, short
from .checkpoints import remove_branch, remove_checkpoints
from .soundness import DivergedError


@contextmanager
def failures_explained(arguments: argparse.Namespace) -> Generator[None]:
    """Says in one sentence why a training failed; of one that diverged, no checkpoint is kept."""
    torch = import_module("torch")
    try:
        yield
    except DivergedError:
        remove_checkpoints(arguments)
        if arguments.push_to:
            remove_branch(arguments)
        raise
    except torch.OutOfMemoryError:
        wrong = f"The GPU's memory does not suffice for --max-length {arguments.max_length}"
        lower = "lower --max-length, add --offload-checkpoints, set --lora-dropout 0"
        raise JobError(f"{wrong}; {lower}, or take a larger GPU.") from None
    except OSError as error:
        look = f"check {str(arguments.output)!r} and the space left there"
        wrong = f"Training stopped ({short(error)})"
        raise JobError(f"{wrong}; {look}, and run the same again.") from None
