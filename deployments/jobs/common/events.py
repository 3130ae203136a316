"""Output of a job: one JSON line per event on stdout, one sentence per error on stderr."""

import argparse
import json
import logging
import os
import re
import sys
import warnings
from collections.abc import Callable
from typing import Any


class JobError(Exception):
    """A mistake that the caller can correct, or a failed check.

    Its arguments are the one sentence that is shown and, if it is not 1, the exit code.
    """


def emit(event: str, **fields: Any) -> None:
    print(json.dumps({"event": event, **fields}), flush=True)


def short(error: object) -> str:
    """Returns an error in one line, without URL signatures and without the token."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"(https?://\S+?)\?\S*", r"\1", text)
    return text.replace(os.environ.get("HF_TOKEN") or "\n", "***")[:250].rstrip(". ")


def silence_libraries() -> None:
    """Keeps progress bars and warnings out of the events. Call it before importing a library."""
    disabled = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY")
    os.environ |= dict.fromkeys(disabled, "1")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def exit_code(job: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Runs a job, prints its error if it fails, and returns the exit code of the process."""
    try:
        job(arguments)
    except JobError as error:
        print(error.args[0], file=sys.stderr)
        return error.args[1] if len(error.args) > 1 else 1
    return 0
