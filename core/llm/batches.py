"""Batch APIs of providers: many requests, answered within a day at half the price. Defines the adapter's interface, and submits and finds batches."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from core.errors import ModelError, ModelTimeoutError, ProviderError, RunStoppedError, SettingsError, UnavailableError
from core.llm.chat import ChatRequest, Reply

WITH_BATCHES = ("anthropic", "openai", "google")
"""Providers with a batch API."""

SUBMIT_SECONDS = 600.0
"""Timeout in seconds of a submission and of the results, which may be many megabytes; other requests have the timeout of a call."""

ATTEMPTS, FIRST_PAUSE, MAX_PAUSE = 5, 2.0, 60.0
"""Number of attempts at a request that fails temporarily, and the first and the longest pause, in seconds, between attempts and between status checks."""

LISTED_SECONDS = 60.0
"""Time in seconds after which the provider's list is sure to contain a submitted batch."""

LARGEST_BYTES = 64_000_000
"""Maximum size of one submission in bytes. It is held in memory; the providers accept more."""

Value = TypeVar("Value")


@dataclass(frozen=True)
class Progress:
    """The state of a batch.

    Args:
        ended: whether the batch is finished, so that no more results will come.
        done: number of answered requests, as the provider reports it.
        of: number of all requests.
        refused: why the provider rejected the complete batch; empty if it did not.
        complete: whether each request has a result, because the batch was neither stopped nor too late.
    """

    ended: bool
    done: int
    of: int
    refused: str = ""
    complete: bool = False


@dataclass(frozen=True)
class Result:
    """The result of one request of a batch.

    Args:
        name: name of the request.
        reply: the model's reply; None if the request failed.
        error: why it failed, and whether it is billed; None if it did not fail.
    """

    name: str
    reply: Reply | None = None
    error: ModelError | None = None


class Batches(Protocol):
    """The batch API for one model. Each method sends one or a few requests to the provider and retries nothing."""

    reference: str
    most_requests: int
    most_bytes: int

    def entry(self, name: str, request: ChatRequest) -> bytes:
        """Return a request as an entry of a batch.

        Args:
            name: unique name within the batch, at most 64 letters, digits, `-` and `_`.
            request: the request.
        """
        ...

    async def submit(self, label: str, entries: Sequence[bytes]) -> str:
        """Submit a batch; return its id.

        Args:
            label: text by which `find` finds the batch; the names of its requests begin with it.
            entries: from `entry`.
        """
        ...

    async def find(self, label: str, requests: int) -> list[str]:
        """Return the ids of the batches that may have a label. The names in a batch's results show whether it does.

        All batches that the provider still has are searched, however old: the clock of the machine that submitted may be wrong by any amount.

        Args:
            label: as for `submit`.
            requests: number of requests in the batch.
        """
        ...

    async def look(self, batch: str) -> Progress:
        """Return the state of a batch."""
        ...

    def results(self, batch: str) -> AsyncIterator[Result]:
        """Return the results of a batch that has ended."""
        ...

    async def cancel(self, batch: str) -> None:
        """Ask the provider to stop a batch; requests that are answered by then are in the results and are billed."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A model whose provider has a batch API."""

    def batches(self) -> Batches:
        """Return the batch API for this model."""
        ...


def name_of(label: str, number: int) -> str:
    """Return the name of a request of a batch, within Anthropic's limit of 64 letters, digits and dashes."""
    return f"{label}-{number:06d}"


async def with_retries(ask: Callable[[], Awaitable[Value]], seconds: float) -> Value:
    """Send an idempotent request to a provider, and retry it on temporary failures.

    Args:
        ask: sends the request once.
        seconds: timeout of one attempt.

    Raises:
        ModelError: the last attempt failed, or the provider rejects the request.
        RunStoppedError, SettingsError: the provider rejects the request.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await in_time(ask(), seconds)
        except ModelError as error:
            if not error.retryable or attempt == ATTEMPTS:
                raise
            await asyncio.sleep(min(MAX_PAUSE, error.retry_after or FIRST_PAUSE * 2**attempt))
    raise AssertionError


async def in_time(answer: Awaitable[Value], seconds: float) -> Value:
    """Await a provider's answer.

    Raises:
        ModelTimeoutError: no answer came within `seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            return await answer
    except TimeoutError as late:
        raise ModelTimeoutError(f"The provider did not answer a request about a batch within {seconds:g} s.") from late


async def submit(batches: Batches, label: str, entries: Sequence[bytes]) -> tuple[list[str], bool]:
    """Submit a batch exactly once, even if the connection breaks.

    Returns:
        Its id, or the ids of the batches that may be it; and whether the provider answered the submission, so that the id is certain.

    Raises:
        RunStoppedError: the provider rejects the batch; nothing is billed.
        UnavailableError: it is unknown whether the provider has the batch; `find` finds it later by its label.
    """
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        try:
            return [await in_time(batches.submit(label, entries), SUBMIT_SECONDS)], True
        except (RunStoppedError, SettingsError) as error:
            raise refused(batches.reference, str(error)) from error
        except ModelError as error:
            if not error.retryable:
                raise refused(batches.reference, str(error)) from error
            last = error
        await asyncio.sleep(min(MAX_PAUSE, last.retry_after or pause))
        pause *= 2
        # the provider may have accepted the batch although the connection broke or the server reported a failure
        if (isinstance(last, ProviderError) or not last.unbilled) and (ids := await find(batches, label, len(entries))):
            return ids, False
    raise UnavailableError(
        f"{batches.reference} does not accept a batch ({last}). Run the same command again when the provider is back; everything made so far is kept."
    )


async def find(batches: Batches, label: str, requests: int) -> list[str]:
    """Return the ids of the batches that may have a label, and repeat the search until the provider's list must contain it.

    The arguments are those of `Batches.find`.
    """
    pause, until = FIRST_PAUSE, time.monotonic() + LISTED_SECONDS
    while True:
        ids = await with_retries(lambda: batches.find(label, requests), SUBMIT_SECONDS)
        if ids or time.monotonic() > until:
            return ids
        await asyncio.sleep(pause)
        pause = min(MAX_PAUSE, 2 * pause)


def refused(reference: str, reason: str) -> RunStoppedError:
    """Return the error for a batch that the provider rejected completely."""
    return RunStoppedError(
        f"{reference} did not accept the batch: {reason.rstrip('.')}. Nothing was billed for it. Fix that and run the same command again, or set "
        "assessment.batch: false to judge by ordinary calls, at twice the price."
    )
