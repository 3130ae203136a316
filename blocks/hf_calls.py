"""Retries and error messages for the Hugging Face Hub's client, most of whose calls retry nothing."""

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

from blocks.authorities import tls_context
from core.errors import HubError, UnderstudyError

Answer = TypeVar("Answer")

PASSING = (408, 409, 412, 429, 500, 502, 503, 504)
"""Statuses after which the same call may succeed a moment later: failures of the Hub, and another client's commit that came first."""

BASE_PAUSE, MAX_PAUSE, MAX_ASKED_PAUSE = 0.5, 30.0, 120.0
"""Seconds. The pause after a failure doubles from the first value up to the second. The third is the longest pause that the Hub may ask for."""

OFFLINE = "HF_HUB_OFFLINE is set, so the Hugging Face Hub cannot be reached. Unset it, or use dataset.hub: local."

XET = "Large files are sent with Xet, which uses separate servers. If a firewall blocks these, set HF_HUB_DISABLE_XET=1."

REMEDIES = {
    401: "Check the token: it is wrong, expired or revoked.",
    402: "The account has no credit for this: add some at huggingface.co/settings/billing.",
    403: "The token has no permission for this. Create one that can write to this repository and, for jobs, start them.",
    404: "Check the repository's name and the token: a private repository is hidden from tokens without access.",
    413: "A file is larger than the Hub accepts: the README.md, or one that is not sent as a large file.",
}
"""Advice for the user, by HTTP status."""


class NotYetError(Exception):
    """The Hub reported success, but the change is not visible yet; it may be a moment later."""


KNOWN = (HfHubHTTPError, httpx2.TransportError, httpx2.DecodingError, OfflineModeIsEnabled, ConnectionError, json.JSONDecodeError, NotYetError)
"""Errors that state the cause of a failed call. The client may wrap others around them."""

HOPELESS = (OfflineModeIsEnabled, HFValidationError, httpx2.UnsupportedProtocol, httpx2.LocalProtocolError, httpx2.InvalidURL)
"""Errors that a repeated call would meet again."""

_TIMEOUT: dict[str, float] = {}
"""The timeout of the current client factory, under the key `seconds`; empty before the first."""


def bound_calls(seconds: float) -> None:
    """Set the timeout of the Hub's client, in seconds; its own factory sets none."""
    if _TIMEOUT.get("seconds") != seconds:  # a new factory closes all connections, including those of logs that are being followed
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [hf_request_event_hook]}
        timeout = httpx2.Timeout(seconds, connect=10)
        set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=timeout, verify=tls_context()))
        _TIMEOUT["seconds"] = seconds


def with_retries(doing: str, call: Callable[[], Answer], attempts: int, endpoint: str) -> Answer:
    """Return the result of a call, and repeat the call as long as its failure may be temporary.

    The client raises arbitrary exceptions for an answer that it cannot read, so all exceptions are caught, except the project's own.

    Args:
        doing: the action for the error message, such as "making the repository".
        call: the call.
        attempts: maximum number of calls.
        endpoint: address of the Hub; empty for the environment's.

    Raises:
        HubError: no call succeeded.
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
    """Return the cause of an error that the client has wrapped, or the error itself."""
    if isinstance(raised, ValueError) and isinstance(raised.__cause__, BadRequestError):
        return raised  # its message says what is wrong with the card
    error: BaseException | None = raised
    seen = list[BaseException]()  # causes may be circular
    while error is not None and not isinstance(error, KNOWN) and error not in seen:
        seen.append(error)
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return error if isinstance(error, KNOWN) else raised


def may_pass(error: BaseException) -> bool:
    """Return whether the same call may succeed a moment later.

    After an unreadable answer it may, because a proxy or a failing server sent it. After a local file that cannot be read it will not.
    """
    if isinstance(error, HfHubHTTPError):
        return error.response.status_code in PASSING
    if isinstance(error, HOPELESS) or isinstance(error.__cause__, BadRequestError):
        return False
    return isinstance(error, ConnectionError | TimeoutError) or not (isinstance(error, OSError) and error.errno)


def pause(error: BaseException, attempt: int) -> None:
    """Wait as long as the Hub asks, or else longer after each failure.

    Args:
        error: the failure.
        attempt: number of calls so far.
    """
    asked = _asked(error.response) if isinstance(error, HfHubHTTPError) else None
    time.sleep(asked or min(MAX_PAUSE, BASE_PAUSE * 2**attempt) * random.uniform(0.5, 1))


def _asked(response: httpx2.Response) -> float | None:
    header = response.headers.get("retry-after", "")
    if re.fullmatch(r"\d{1,9}(\.\d+)?", header, re.ASCII):
        return min(MAX_ASKED_PAUSE, float(header))
    limit = parse_ratelimit_headers(response.headers)
    return min(MAX_ASKED_PAUSE, limit.reset_in_seconds + 1.0) if limit and limit.remaining == 0 else None


def explained(doing: str, error: BaseException, attempts: int, endpoint: str) -> HubError:
    """Return the error for the user: what failed, and what to do.

    Args:
        doing, endpoint: as in `with_retries`.
        error: the cause, as `underlying` returns it.
        attempts: number of calls made.
    """
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
    """Return one or two sentences that say what failed; the arguments are those of `explained`."""
    tried, reason = f" after {attempts} attempts" if attempts > 1 else "", _line(str(error)) or type(error).__name__
    if isinstance(error, HfHubHTTPError):
        return f"The Hub answered {error.response.status_code} while {doing}{tried}: {_line(error.server_message or '') or reason}."
    where = endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
    if isinstance(error, httpx2.TransportError | httpx2.DecodingError):
        return f"The Hub cannot be reached at {where} while {doing}{tried}: {reason}."
    if isinstance(error, NotYetError):
        return f"The Hub reported success but changed nothing while {doing}{tried}: {reason}."
    if isinstance(error, ConnectionError | RuntimeError):
        return f"The connection failed while {doing}{tried}: {reason}.{'' if constants.HF_HUB_DISABLE_XET else f' {XET}'}"
    if isinstance(error, OSError):
        return f"{'A file cannot be read or written' if error.errno else 'The response was incomplete'} while {doing}{tried}: {reason}."
    if isinstance(error, ValueError) and isinstance(error.__cause__, BadRequestError):
        return f"The Hub refuses what was sent while {doing}: {' '.join(str(error).split())[:500].rstrip('.')}."
    if isinstance(error, HOPELESS):
        return f"The Hub's client refuses this while {doing}: {reason}."
    return f"The Hub's answer cannot be read while {doing}{tried}: {type(error).__name__}, {reason}. A proxy, or an outage of the Hub, can cause this."


def _line(text: str) -> str:
    """Return the first line that is not empty, shortened."""
    return next((line.strip().rstrip(".") for line in text.splitlines() if line.strip()), "")[:300]
