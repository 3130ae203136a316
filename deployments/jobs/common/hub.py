"""Calls of the Hugging Face Hub, with retries for temporary errors."""

import argparse
import random
import re
import time
from collections.abc import Callable
from importlib import import_module
from typing import Any

from .events import JobError, short

ATTEMPTS = 6
MAX_PAUSE = 300.0
"""Longest wait between two attempts, in seconds."""
TEMPORARY = (408, 409, 412, 429, 500, 502, 503, 504)
"""HTTP statuses after which the same call may succeed later."""
REMEDIES = {
    401: "check HF_TOKEN: it is wrong, expired or revoked",
    403: "give an HF_TOKEN that may do this",
    404: "check the name, its revision, and that HF_TOKEN may read it",
}
HUB_ID = r"[\w-][\w.-]*/[\w.-]+"


def hub() -> Any:
    return import_module("huggingface_hub").HfApi()


def patiently(
    arguments: argparse.Namespace, doing: str, call: Callable[[], Any], files: bool = False
) -> Any:
    """Retry a call while its error is temporary; the Hub's client itself retries very little.

    Args:
        doing: what the call does, for the error message, such as "downloading 'me/base'".
        files: whether the call also reads local files; their errors are raised unchanged. If false,
            every exception is attributed to the Hub.

    Raises:
        JobError: the error is permanent, or this was the last attempt.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except Exception as raised:
            error = innermost(raised)
            if not is_of_the_hub(error) and (files or isinstance(raised, JobError)):
                raise
            if attempt == ATTEMPTS or not may_pass(error):
                raise explained(doing, error, attempt) from None
            pause = pause_after(error, arguments.retry_seconds * 2 ** (attempt - 1))
        time.sleep(pause)
    raise AssertionError


def is_of_the_hub(error: BaseException) -> bool:
    from httpx2 import TransportError
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    # Xet, which transfers large files, raises only ConnectionError.
    return isinstance(error, HfHubHTTPError | TransportError | HFValidationError | ConnectionError)


def innermost(raised: BaseException) -> BaseException:
    """Return the Hub's error within an error's chain of causes, or the last cause."""
    error, seen = raised, list[BaseException]()  # causes may run in a circle
    while not is_of_the_hub(error):
        seen.append(error)
        cause = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
        if cause is None or cause in seen:
            break
        error = cause
    return error


def status_of(error: BaseException) -> int:
    """Return the HTTP status of the Hub's response; 0 if there was no response."""
    response = getattr(error, "response", None)
    return 0 if response is None else response.status_code


def may_pass(error: BaseException) -> bool:
    from httpx2 import TransportError
    from huggingface_hub.errors import HFValidationError, OfflineModeIsEnabled

    if status := status_of(error):
        return status in TEMPORARY
    if isinstance(error, OfflineModeIsEnabled):
        return False
    # An unreadable response or a truncated download; errors of local files have an errno.
    unread = not isinstance(error, HFValidationError) and not getattr(error, "errno", None)
    return isinstance(error, TransportError | ConnectionError) or unread


def pause_after(error: BaseException, doubled: float) -> float:
    """Return the seconds to wait: those of Retry-After, or the doubled pause with jitter."""
    response = getattr(error, "response", None)
    header = "" if response is None else response.headers.get("retry-after", "")
    is_number = re.fullmatch(r"\d+(\.\d+)?", header)
    return min(MAX_PAUSE, float(header) if is_number else doubled * random.uniform(0.5, 1))


def explained(doing: str, error: BaseException, attempt: int) -> JobError:
    from huggingface_hub.errors import HFValidationError

    status = status_of(error)
    reason = short(getattr(error, "server_message", None) or error)
    reason = f"the Hub answered {status}: {reason}" if status else reason
    kind = 404 if isinstance(error, HFValidationError) else status
    remedy = REMEDIES.get(kind, "try again later")
    return JobError(f"Failed at {doing}, attempt {attempt} of {ATTEMPTS} ({reason}); {remedy}.")


def bound_silence() -> None:
    """Set timeouts for the Hub's client, which has none by default."""
    import httpx2
    from huggingface_hub.utils._http import hf_request_event_hook, set_client_factory

    hooks: dict[str, list[Callable[..., Any]]] = {"request": [hf_request_event_hook]}
    bounds = httpx2.Timeout(60, connect=10)
    set_client_factory(
        lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=bounds)
    )
