"""Calls of the Hugging Face Hub's client, of which most retry nothing: what may pass is borne here, the rest is said plainly."""

import os
import random
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled
from huggingface_hub.utils._http import hf_request_event_hook

from core.errors import HubError

Answer = TypeVar("Answer")

PASSING = (408, 409, 412, 429, 500, 502, 503, 504)
"""Statuses after which the same may go well a moment later: the Hub's own troubles, and somebody else's commit that came first."""

FIRST, LONGEST, LONGEST_ASKED = 0.5, 30.0, 120.0
"""Seconds: the pause after a failure doubles from the one to the other; and the longest that the Hub may ask for."""

OFFLINE = "HF_HUB_OFFLINE is set, so that the Hugging Face Hub cannot be reached. Unset it, or use dataset.hub: local."

REMEDIES = {
    401: "Check the token: it is wrong, expired or revoked.",
    402: "The account has no credit for this: add some at huggingface.co/settings/billing.",
    403: "The token may not do this. Make one that may write to this repository, and start jobs if jobs are to run.",
    404: "Check the repository's name and the token: a private repository is not shown to those who may not see it.",
}
"""What to do, by status."""


_BOUND: dict[str, float] = {}


def bound_calls(seconds: float) -> None:
    """Bound how long the Hub may be silent in one call; the client's own factory sets no bound at all."""
    if _BOUND.get("seconds") != seconds:  # another factory closes all connections, those of logs that are followed too
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [hf_request_event_hook]}
        set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=httpx2.Timeout(seconds, connect=10)))
        _BOUND["seconds"] = seconds


def patiently(doing: str, call: Callable[[], Answer], attempts: int, endpoint: str) -> Answer:
    """Call until it goes well, as long as what is wrong may pass.

    Args:
        doing: for the error, such as "making the repository".
        endpoint: address of the Hub, or empty for the one of the environment.

    Raises:
        HubError: it did not go well.
    """
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except (HfHubHTTPError, httpx2.TransportError, OfflineModeIsEnabled, RuntimeError) as raised:
            error = underlying(raised)
            if not may_pass(error) or attempt == attempts:
                raise explained(doing, error, attempt, endpoint) from error
            pause(error, attempt)
    raise AssertionError


def underlying(raised: Exception) -> BaseException:
    """Return what went wrong; the client wraps what happens while a file is uploaded."""
    return raised.__cause__ if isinstance(raised, RuntimeError) and raised.__cause__ else raised


def may_pass(error: BaseException) -> bool:
    """Say whether the same call may go well a moment later."""
    return error.response.status_code in PASSING if isinstance(error, HfHubHTTPError) else isinstance(error, httpx2.TransportError)


def pause(error: BaseException, attempt: int) -> None:
    """Wait as long as the Hub asks, or longer after each failure."""
    given = error.response.headers.get("retry-after", "") if isinstance(error, HfHubHTTPError) else ""
    asked = min(LONGEST_ASKED, float(given)) if given.replace(".", "", 1).isdigit() else None
    time.sleep(asked or min(LONGEST, FIRST * 2**attempt) * random.uniform(0.5, 1))


def explained(doing: str, error: BaseException, attempts: int, endpoint: str) -> HubError:
    """Return the error that a person can act on."""
    tried = f" after {attempts} attempts" if attempts > 1 else ""
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(OFFLINE)
    if isinstance(error, HfHubHTTPError):
        status, said = error.response.status_code, (error.server_message or str(error)).splitlines()[0].rstrip(".")
        return HubError(f"The Hub answered {status} while {doing}{tried}: {said}. {REMEDIES.get(status, 'Try again later.')}")
    if isinstance(error, httpx2.TransportError):
        where = endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
        return HubError(f"The Hub cannot be reached at {where} while {doing}{tried}: {str(error) or type(error).__name__}. Try again later.")
    return HubError(f"The Hub's client failed while {doing}: {error}. Try again later.")
