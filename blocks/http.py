"""What the providers' HTTP APIs have in common: statuses that become our errors, headers that tell limits. What they answer: `blocks/answers.py`."""

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
"""The most that an answer may have: what stands around the text (signatures of thoughts, a schema that is repeated), and a token, each character of
which JSON may write in six bytes."""
LONGEST_WAIT = 366 * 86400.0
"""Seconds."""
MOST_WORDS = 20_000
"""Characters of an error's words that are looked at; a key among them is taken out before they are shortened."""

OVERLONG = re.compile(
    r"prompt is too long|context[ _](length|window|size|limit)|maximum context|exceeds? the (maximum|available) (number of )?(input )?(tokens|context)",
    re.IGNORECASE,
)
"""How providers say that a prompt does not fit; only some have a code for it."""


SCHEMA = re.compile(r"(json|response|invalid|output)[ _-]?schema|output_config|response_format", re.IGNORECASE)
"""How they say that they cannot take the schema of an answer."""


def clean_key(key: str | None, reference: str) -> str:
    """Return a key without the blanks and line breaks that files and terminals leave around it; empty for none.

    Raises:
        SettingsError: it has a character that a header cannot carry, and clients would repeat the key to say so.
    """
    key = learn((key or "").strip())
    if not key.isascii() or not key.isprintable() or " " in key:
        raise SettingsError(f"The key for {reference} contains a space, a line break or a character that keys do not have. Copy it again.")
    return key


NO_HEADERS: Mapping[str, str] = MappingProxyType({})
"""Of an answer that came in a file."""

GATEWAY = (408, 502, 504, *range(520, 529))
"""Statuses of what stands before the API: behind it the answer may have been written, and billed."""


def quoted(words: str) -> str:
    """Return somebody else's words as they may stand in a sentence of ours: on one line, without secrets, and not too many."""
    return redact(" ".join(words[:MOST_WORDS].split()))[:300].rstrip(".")


def status_error(
    reference: str,
    status: int,
    message: str,
    retry_after: float | None = None,
    allowances: Sequence[Allowance] = (),
    spent: bool = False,
    overlong: bool = False,
) -> ModelError | RunStoppedError | SettingsError:
    """Turn an HTTP status into the error that it means.

    Args:
        message: the provider's own words.
        spent: whether a 429 is a spend limit or a daily quota.
        overlong: whether the provider said by a code that the prompt does not fit.
    """
    error = _by_status(reference, status, message, retry_after, allowances, spent, overlong)
    error.unbilled = status not in GATEWAY
    return error


def _by_status(
    reference: str, status: int, message: str, retry_after: float | None, allowances: Sequence[Allowance], spent: bool, overlong: bool
) -> ModelError | RunStoppedError | SettingsError:
    said = f"{reference} answered {status}: {quoted(message)}"
    if spent or status == 402:
        return QuotaError(f"{said}. A spend limit or quota is used up: raise it with the provider, then run the same command again.")
    if overlong or status == 413 or (status in (400, 422) and OVERLONG.search(message)):
        return ContextError(f"{said}. The conversation is longer than the model can read: choose one with a larger context.", retry_after)
    if status in (400, 422) and SCHEMA.search(message):
        return SettingsError(f"{said}. The provider does not support the requested answer format: choose another model for the role.")
    if status in (401, 403):
        return AuthError(f"{said}. Check the key (environment variable or block) and what it is allowed to use.")
    if status == 404:
        return UnknownModelError(f"{said}. Check the model's name and the base URL.")
    if status == 429:
        return RateLimitError(f"{said}.", retry_after, allowances)
    if status in (503, 529):
        return OverloadedError(f"{said}.", retry_after, allowances)
    if status in (408, 504):
        return ModelTimeoutError(f"{said}.", retry_after, allowances)
    if status == 409 or status >= 500:
        return ProviderError(f"{said}.", retry_after, allowances)
    return BadRequestError(f"{said}.", retry_after, allowances)


@dataclass(frozen=True)
class Refusal:
    """What a provider says beside a status.

    Args:
        kind: its word for the sort of error; code: for this one, of which it is one.
        details: whatever else it says, if that is a list.
    """

    message: str = ""
    kind: str = ""
    code: str = ""
    details: Sequence[Any] = ()


def read_refusal(content: bytes) -> Refusal:
    """Read the body that comes with a status of 400 and above: the error object that all APIs have in common, or text of any kind."""
    try:
        body = from_json(content)
    except ValueError:
        return Refusal(content.decode(errors="replace").strip()[:MOST_WORDS] or "no reason given")
    body = body[0] if isinstance(body, list) and len(body) == 1 else body
    error = body.get("error", body) if isinstance(body, dict) else body
    if not isinstance(error, dict):
        return Refusal(str(error)[:MOST_WORDS])
    details = error.get("details")
    words = [error.get("message"), error.get("type"), error.get("code")]
    message, kind, code = (word if isinstance(word, str) else "" for word in words)
    inner = details.get("error_code") if isinstance(details, dict) else None
    return Refusal(message or str(error)[:MOST_WORDS], kind, inner if isinstance(inner, str) else code, details if isinstance(details, list) else ())


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from: an SDK's error, and that of aiohttp, which says most."""
    yield error
    cause = error.__cause__ or error.__context__
    while cause:
        yield cause
        cause = cause.__cause__


def never_sent(error: BaseException) -> bool:
    """Say whether an error is of a connection that was not made, so that no request went out."""
    import aiohttp

    unmade = aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError | aiohttp.ClientHttpProxyError | aiohttp.InvalidURL
    return any(isinstance(cause, unmade) for cause in causes(error))


def unreachable(reference: str, where: str, error: BaseException) -> ConnectError:
    """Return the error for a connection that failed or broke."""
    import aiohttp

    cause = next((cause for cause in causes(error) if isinstance(cause, aiohttp.ClientError)), error.__cause__ or error)
    said = "the connection was closed" if isinstance(cause, aiohttp.ServerDisconnectedError) else quoted(str(cause)) or type(cause).__name__
    failed = ConnectError(f"{reference} cannot be reached at {where}: {said}. Check the base URL and the network.")
    failed.unbilled = never_sent(error)
    return failed


def seconds_to_wait(headers: Mapping[str, str]) -> float | None:
    """Read `retry-after-ms` or `retry-after`, which is a number of seconds or a date (RFC 9110, section 10.2.3); none for what is no wait."""
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
    """Return seconds as a wait: none for longer than a year, which nobody means, and no time for a moment that has passed."""
    return max(0.0, seconds) if seconds is not None and seconds <= LONGEST_WAIT else None


def allowances(headers: Mapping[str, str], names: Mapping[LimitKind, tuple[str, str, str]]) -> tuple[Allowance, ...]:
    """Read what headers say of limits.

    Args:
        names: for each kind, the headers of limit, remaining and reset.
    """
    return tuple(
        Allowance(kind, _at_least(1, headers.get(limit)), _at_least(0, headers.get(remaining)), as_wait(_seconds(headers.get(reset))))
        for kind, (limit, remaining, reset) in names.items()
        if limit in headers or remaining in headers
    )


def alternating(messages: Sequence[Message]) -> list[Message]:
    """Join messages of one side that follow each other: some chat templates insist on taking turns."""
    joined: list[Message] = []
    for message in messages:
        if joined and joined[-1].role == message.role:
            joined[-1] = Message(message.role, f"{joined[-1].content}\n\n{message.content}")
        else:
            joined.append(message)
    return joined


def bare_json(text: str, request: ChatRequest) -> JsonAnswer:
    """Return the JSON that answers a request, without what stands around it and what it quotes."""
    try:
        return json_answer(text, request.schema or {}, [message.content for message in request.messages])
    except RecursionError:  # as it is, the text has not the asked form either
        return JsonAnswer(text)


def read_number(text: str | None) -> float | None:
    """Return a number; none for text, and for what no one can count (`inf`, `nan`)."""
    try:
        number = float(text) if text is not None else math.nan
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _at_least(least: float, text: str | None) -> float | None:
    number = read_number(text)
    return number if number is not None and number >= least else None


def _seconds(text: str | None) -> float | None:
    """Read a reset: a Go duration (`6m0s`, `60ms`), a date (RFC 3339), or seconds."""
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
