"""Calls of the Hugging Face Hub's client, of which most retry nothing: what may pass is tried again here, the rest is said plainly."""

import json
import os
import random
import re
import time
from collections.abc import Callable
from typing import Any, TypeVar

import httpx2
from huggingface_hub import constants, set_client_factory
from huggingface_hub.errors import BadRequestError, HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.utils import parse_ratelimit_headers
from huggingface_hub.utils._http import hf_request_event_hook
from prefect.logging import get_logger

from core.errors import HubError, UnderstudyError

Answer = TypeVar("Answer")

PASSING = (408, 409, 412, 429, 500, 502, 503, 504)
"""Statuses after which the same may go well a moment later: the Hub's own troubles, and somebody else's commit that came first."""

FIRST, LONGEST, LONGEST_ASKED = 0.5, 30.0, 120.0
"""Seconds: the pause after a failure doubles from the one to the other; and the longest that the Hub may ask for."""

OFFLINE = "HF_HUB_OFFLINE is set, so the Hugging Face Hub cannot be reached. Unset it, or use dataset.hub: local."

XET = "Large files go by Xet, which has servers of its own: where a firewall stops them, set HF_HUB_DISABLE_XET=1."

REMEDIES = {
    401: "Check the token: it is wrong, expired or revoked.",
    402: "The account has no credit for this: add some at huggingface.co/settings/billing.",
    403: "The token has no permission for this. Create one that can write to this repository and, for jobs, start them.",
    404: "Check the repository's name and the token: a private repository is hidden from tokens without access.",
    413: "A file is larger than the Hub accepts: the README.md, or one that is not sent as a large file.",
}
"""What to do, by status."""


class NotYetError(Exception):
    """The Hub agreed, and what it was asked for is not to be seen; it may be a moment later."""


KNOWN = (HfHubHTTPError, httpx2.TransportError, httpx2.DecodingError, OfflineModeIsEnabled, ConnectionError, json.JSONDecodeError, NotYetError)
"""What says why a call failed; others of the client are wrapped around it."""

HOPELESS = (OfflineModeIsEnabled, HFValidationError, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)
"""What the same call meets again."""

_BOUND: dict[str, float] = {}


def bound_calls(seconds: float) -> None:
    """Bound how long the Hub may be silent in one call; the client's own factory sets no bound at all."""
    if _BOUND.get("seconds") != seconds:  # another factory closes all connections, those of logs that are followed too
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [hf_request_event_hook]}
        set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=httpx2.Timeout(seconds, connect=10)))
        _BOUND["seconds"] = seconds


def patiently(doing: str, call: Callable[[], Answer], attempts: int, endpoint: str) -> Answer:
    """Call until it goes well, as long as what is wrong may pass.

    The client raises whatever its reading of an answer leads to, so all its exceptions are taken; the project's own pass through.

    Args:
        doing: for the error, such as "making the repository".
        endpoint: address of the Hub, or empty for the one of the environment.

    Raises:
        HubError: it did not go well.
    """
    for attempt in range(1, attempts + 1):
        try:
            return call()
        except UnderstudyError:
            raise
        except Exception as raised:
            error = underlying(raised)
            if not may_pass(error) or attempt == attempts:
                raise explained(doing, error, attempt, endpoint) from error
            get_logger("hub").warning("%s Attempt %d of %d follows.", fault(doing, error, endpoint), attempt + 1, attempts)
            pause(error, attempt)
    raise AssertionError


def underlying(raised: Exception) -> BaseException:
    """Return what went wrong, where the client has wrapped it."""
    if isinstance(raised, ValueError) and isinstance(raised.__cause__, BadRequestError):
        return raised  # its words say what is wrong with the card
    error: BaseException | None = raised
    seen = list[BaseException]()  # causes may run in a circle
    while error is not None and not isinstance(error, KNOWN) and error not in seen:
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error if isinstance(error, KNOWN) else raised


def may_pass(error: BaseException) -> bool:
    """Say whether the same call may go well a moment later.

    An answer that cannot be read may, for a proxy or a server in trouble gave it; a file here that cannot be read will not.
    """
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    if isinstance(error, HOPELESS) or isinstance(error.__cause__, BadRequestError):
        return False
    return isinstance(error, ConnectionError | TimeoutError) or not (isinstance(error, OSError) and error.errno)


def pause(error: BaseException, attempt: int) -> None:
    """Wait as long as the Hub asks, or longer after each failure."""
    asked = _asked(error.response) if isinstance(error, HfHubHTTPError) else None
    time.sleep(asked or min(LONGEST, FIRST * 2**attempt) * random.uniform(0.5, 1))


def _asked(response: httpx2.Response) -> float | None:
    given = response.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,9}(\.\d+)?", given, re.ASCII):
        return min(LONGEST_ASKED, float(given))
    limit = parse_ratelimit_headers(response.headers)
    return min(LONGEST_ASKED, limit.reset_in_seconds + 1.0) if limit and limit.remaining == 0 else None


def explained(doing: str, error: BaseException, attempts: int, endpoint: str) -> HubError:
    """Return the error that a person can act on."""
    if isinstance(error, OfflineModeIsEnabled):
        return HubError(OFFLINE)
    status = error.response.status_code if isinstance(error, HfHubHTTPError) else 0
    if isinstance(error, HOPELESS):
        remedy = "Correct the address (HF_ENDPOINT, or the block's endpoint), the token or the name."
    elif isinstance(error, ValueError) and isinstance(error.__cause__, BadRequestError):
        remedy = "Correct that (dataset.license, the base's license, or the card's template) and run the same command again."
    elif isinstance(error, OSError) and error.errno and not isinstance(error, ConnectionError):
        remedy = "Check that the file can be read and that there is space, and run the same command again."
    else:
        remedy = REMEDIES.get(status, "Try again later.")
    return HubError(f"{fault(doing, error, endpoint, attempts)} {remedy}")


def fault(doing: str, error: BaseException, endpoint: str, attempts: int = 1) -> str:
    """Return what went wrong, as a sentence or two."""
    tried, said = f" after {attempts} attempts" if attempts > 1 else "", _line(str(error)) or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        return f"The Hub answered {error.response.status_code} while {doing}{tried}: {_line(error.server_message or '') or said}."
    where = endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    if isinstance(error, httpx2.TransportError | httpx2.DecodingError):
        return f"The Hub cannot be reached at {where} while {doing}{tried}: {said}."
    if isinstance(error, NotYetError):
        return f"The Hub reported success but changed nothing while {doing}{tried}: {said}."
    if isinstance(error, ConnectionError | RuntimeError):
        return f"The connection failed while {doing}{tried}: {said}.{'' if constants.HF_HUB_DISABLE_XET else f' {XET}'}"
    if isinstance(error, OSError):
        return f"{'A file cannot be read or written' if error.errno else 'The response was incomplete'} while {doing}{tried}: {said}."
    if isinstance(error, ValueError) and isinstance(error.__cause__, BadRequestError):
        return f"The Hub refuses what was sent while {doing}: {' '.join(str(error).split())[:500].rstrip('.')}."
    if isinstance(error, HOPELESS):
        return f"The Hub's client refuses this while {doing}: {said}."
    return f"The Hub's answer cannot be read while {doing}{tried}: {type(error).__name__}, {said}. A proxy, or an outage of the Hub, can cause this."


def _line(text: str) -> str:
    """Return the first line that says something."""
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), "")[:300]
