"""Output of a job: one JSON line per event on stdout, one sentence per error on stderr."""

import argparse
import json
import logging
import math
import os
import re
import sys
import warnings
from collections.abc import Callable, Iterable
from typing import Any


class JobError(Exception):
    """A mistake that the caller can correct, or a failed check.

    Its arguments are the sentence that is shown and, optionally, the exit code (default 1).
    """


def emit(event: str, **fields: Any) -> None:
    print(as_json(f"the event {event!r}", {"event": event, **fields}), flush=True)


def as_json(where: str, content: Any, **layout: Any) -> str:
    """Return content as JSON, which cannot represent NaN and infinity.

    Raises:
        JobError: a figure is not finite. The message names it and its place.
    """
    if wrong := not_finite(content):
        raise JobError(f"A figure of {where} is not finite: {wrong}; nothing is made of it.")
    return json.dumps(content, allow_nan=False, **layout)


def not_finite(content: Any, place: str = "") -> str:
    """Return the place and value of the first figure that is NaN or infinite; empty if none is."""
    if isinstance(content, float):
        return "" if math.isfinite(content) else f"{place or 'it'} is {content}"
    inner: Iterable[tuple[Any, Any]] = ()
    if isinstance(content, dict):
        inner = content.items()
    elif isinstance(content, list | tuple):
        inner = enumerate(content)
    within = (not_finite(value, f"{place}.{key}".lstrip(".")) for key, value in inner)
    return next(filter(None, within), "")


def short(error: object) -> str:
    """Return an error in one line, without URL signatures and without the token."""
    text = " ".join(str(error).split()) or type(error).__name__
    text = re.sub(r"(https?://\S+?)\?\S*", r"\1", text)
    return text.replace(os.environ.get("HF_TOKEN") or "\n", "***")[:250].rstrip(". ")


def silence_libraries() -> None:
    """Keep progress bars and warnings out of the events. Call it before importing a library."""
    disabled = ("TQDM_DISABLE", "HF_HUB_DISABLE_PROGRESS_BARS", "HF_HUB_DISABLE_TELEMETRY")
    os.environ |= dict.fromkeys(disabled, "1")
    logging.disable(logging.WARNING)
    warnings.simplefilter("ignore")


def exit_code(job: Callable[[argparse.Namespace], None], arguments: argparse.Namespace) -> int:
    """Run a job, print its error if it fails, and return the exit code of the process."""
    try:
        job(arguments)
    except JobError as error:
        print(error.args[0], file=sys.stderr)
        return error.args[1] if len(error.args) > 1 else 1
    return 0
