"""Functions for all providers' HTTP APIs: statuses become the project's errors, headers become limits. `blocks/answers.py` reads the answers."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

from pydantic_core import from_json

from core.errors import (
    AuthError,
    BadRequestError,
    ConnectError,
    ContextError,
    ModelError,
    ModelTimeoutError,
    OverloadedError,
    ProviderError,
    QuotaError,
    RateLimitError,
    RunStoppedError,
    SettingsError,
    UnknownModelError,
)
from core.llm.chat import Allowance, ChatRequest, Message
from core.llm.json_answers import JsonAnswer, json_answer
from core.records import LimitKind
from core.redaction import learn, redact

BASE_BYTES, BYTES_PER_TOKEN = 1_000_000, 64
"""Maximum bytes of an answer: a base for what surrounds the text (such as signatures of thoughts or a repeated schema), and an amount for each token,
in which JSON may take six bytes for a character."""
MAX_WAIT = 366 * 86400.0
"""Longest wait in seconds that is believed; a provider that names a longer one is in error."""
MAX_MESSAGE = 20_000
"""Maximum characters of an error message that are read. Keys are removed from them before the message is shortened for display."""

OVERLONG = re.compile(
    r"prompt is too long|context[ _](length|window|size|limit)|maximum context|exceeds? the (maximum|available) (number of )?(input )?(tokens|context)",
    re.IGNORECASE,
)
"""Matches messages that say that a prompt does not fit; only some providers have a code for it."""

SCHEMA = re.compile(r"(json|response|invalid|output)[ _-]?schema|output_config|response_format", re.IGNORECASE)
"""Matches messages that say that the provider does not support the JSON schema of an answer."""


def clean_key(key: str | None, reference: str) -> str:
    """Return a key without surrounding spaces and line breaks; empty if there is none.

    Args:
        key: the key as it was entered; None or empty if there is none.
        reference: the model's reference, for the error.

    Raises:
        SettingsError: it contains a character that a header cannot carry. HTTP clients would repeat the key in their error.
    """
    key = learn((key or "").strip())
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"The key for {reference} contains a space, a line break or a character that keys do not have. Copy it again.")
    return key


NO_HEADERS: Mapping[str, str] = MappingProxyType({})
"""The headers of an answer that was read from a batch's results."""

GATEWAY = (408, 502, 504, *range(520, 529))
"""Statuses that a gateway in front of the API returns. The API may nevertheless have answered, and billed the answer."""


def quoted(words: str) -> str:
    """Return a foreign message for use in an error: on one line, without secrets, and of 300 characters at most."""
    return redact(" ".join(words[:MAX_MESSAGE].split()))[:300].rstrip(".")


def status_error(
    reference: str,
    status: int,
    message: str,
    retry_after: float | None = None,
    allowances: Sequence[Allowance] = (),
    spent: bool = False,
    overlong: bool = False,
) -> ModelError | RunStoppedError | SettingsError:
    """Return the error for an HTTP status.

    Args:
        reference: the model's reference.
        status: the HTTP status, 400 or above.
        message: the provider's message.
        retry_after: seconds to wait, as the provider asks; None if it does not.
        allowances: rate limits from the headers.
        spent: whether a spend limit or a daily quota is used up.
        overlong: whether the provider reported by a code that the prompt does not fit.
    """
    error = _by_status(reference, status, message, retry_after, allowances, spent, overlong)
    error.unbilled = status not in GATEWAY
    return error


def _by_status(
    reference: str, status: int, message: str, retry_after: float | None, allowances: Sequence[Allowance], spent: bool, overlong: bool
) -> ModelError | RunStoppedError | SettingsError:
    summary = f"{reference} answered {status}: {quoted(message)}"
    if spent or status == 402:
        return QuotaError(f"{summary}. A spend limit or quota is used up: raise it with the provider, then run the same command again.")
    if overlong or status == 413 or (status in (400, 422) and OVERLONG.search(message)):
        return ContextError(f"{summary}. The conversation is longer than the model can read: choose one with a larger context.", retry_after)
    if status in (400, 422) and SCHEMA.search(message):
        return SettingsError(f"{summary}. The provider does not support the requested answer format: choose another model for the role.")
    if status in (401, 403):
        return AuthError(f"{summary}. Check the key (environment variable or block) and what it is allowed to use.")
    if status == 404:
        return UnknownModelError(f"{summary}. Check the model's name and the base URL.")
    if status == 429:
        return RateLimitError(f"{summary}.", retry_after, allowances)
    if status in (503, 529):
        return OverloadedError(f"{summary}.", retry_after, allowances)
    if status in (408, 504):
        return ModelTimeoutError(f"{summary}.", retry_after, allowances)
    if status == 409 or status >= 500:
        return ProviderError(f"{summary}.", retry_after, allowances)
    return BadRequestError(f"{summary}.", retry_after, allowances)


@dataclass(frozen=True)
class Refusal:
    """The error that a provider reports in the body of a refusal.

    Args:
        message: the provider's message.
        kind: the type of error.
        code: the specific error within the type.
        details: the list of details; empty if there is none.
    """

    message: str = ""
    kind: str = ""
    code: str = ""
    details: Sequence[Any] = ()


def read_refusal(content: bytes) -> Refusal:
    """Read the body of an answer with a status of 400 or above: the error object that all APIs share, or any text."""
    try:
        body = from_json(content)
    except ValueError:
        return Refusal(content.decode(errors="replace").strip()[:MAX_MESSAGE] or "no reason given")
    body = body[0] if isinstance(body, list) and len(body) == 1 else body
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return Refusal(str(error)[:MAX_MESSAGE])
    details = error.get("details")
    fields = [error.get("message"), error.get("type"), error.get("code")]
    message, kind, code = (field if isinstance(field, str) else "" for field in fields)
    inner = details.get("error_code") if isinstance(details, dict) else None
    return Refusal(message or str(error)[:MAX_MESSAGE], kind, inner if isinstance(inner, str) else code, details if isinstance(details, list) else ())


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes, such as an SDK's error and the more specific one of aiohttp."""
    yield error
    cause = error.__cause__ or error.__context__
    while cause:
        yield cause
        cause = cause.__cause__


def never_sent(error: BaseException) -> bool:
    """Return whether an error means that no connection was made, so that no request was sent."""
    import aiohttp

    unmade = aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError | aiohttp.InvalidURL
    return any(isinstance(cause, unmade) for cause in causes(error))


def unreachable(reference: str, where: str, error: BaseException) -> ConnectError:
    """Return the error for a connection that failed or broke."""
    import aiohttp

    cause = next((cause for cause in causes(error) if isinstance(cause, aiohttp.ClientError)), error.__cause__ or error)
    reason = "the connection was closed" if isinstance(cause, aiohttp.ServerDisconnectedError) else quoted(str(cause)) or type(cause).__name__
    failed = ConnectError(f"{reference} cannot be reached at {where}: {reason}. Check the base URL and the network.")
    failed.unbilled = never_sent(error)
    return failed


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Return the seconds from `retry-after-ms` or `retry-after`, a number or a date (RFC 9110, section 10.2.3); None if neither is valid."""
    if (milliseconds := read_number(headers.get("retry-after-ms"))) is not None:
        return as_wait(milliseconds / 1000)
    value = headers.get("retry-after")
    if value is None:
        return None
    if (seconds := read_number(value)) is not None:
        return as_wait(seconds)
    try:
        return as_wait((parsedate_to_datetime(value) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError, OverflowError):
        return None


def as_wait(seconds: float | None) -> float | None:
    """Return seconds as a wait: None if they are implausibly many, and 0 if the moment has passed."""
    return max(0.0, seconds) if seconds is not None and seconds <= MAX_WAIT else None


def allowances(headers: Mapping[str, str], names: Mapping[LimitKind, tuple[str, str, str]]) -> tuple[Allowance, ...]:
    """Return the rate limits that the headers report.

    Args:
        headers: the answer's headers.
        names: for each kind of limit, the headers with the limit, the remaining amount and the reset.
    """
    return tuple(
        Allowance(kind, _at_least(1, headers.get(limit)), _at_least(0, headers.get(remaining)), as_wait(_seconds(headers.get(reset))))
        for kind, (limit, remaining, reset) in names.items()
        if limit in headers or remaining in headers
    )


def alternating(messages: Sequence[Message]) -> list[Message]:
    """Join consecutive messages of one side, because some chat templates require that the sides alternate."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined


def bare_json(text: str, request: ChatRequest) -> JsonAnswer:
    """Return the JSON of an answer, without the surrounding text and without JSON that it quotes from the request."""
    try:
        return json_answer(text, request.schema or {}, [message.content for message in request.messages])
    except RecursionError:  # the caller then rejects the text for its form
        return JsonAnswer(text)


def read_number(text: str | None) -> float | None:
    """Return a text as a number; None if it is not a finite number."""
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _at_least(minimum: float, text: str | None) -> float | None:
    number = read_number(text)
    return number if number is not None and number >= minimum else None


def _seconds(text: str | None) -> float | None:
    """Return the seconds until a reset, which is a Go duration (`6m0s`, `60ms`), a date (RFC 3339) or a number of seconds."""
    if text is None:
        return None
    if (number := read_number(text)) is not None:
        return number
    parts = re.findall(r"([\d.]+)(ms|µs|us|ns|h|m|s)", text)
    if parts and "".join("".join(part) for part in parts) == text:
        units = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
        return sum((read_number(amount) or 0.0) * units[unit] for amount, unit in parts)
    try:
        return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
