"""A provider's batches: many requests that it answers within a day, at half the price. What an adapter must do, and how one is sent and awaited."""

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar, runtime_checkable

from core.errors import ModelError, ModelTimeoutError, ProviderError, RunStoppedError, SettingsError, UnavailableError
from core.llm.chat import ChatRequest, Reply

WITH_BATCHES = ("anthropic", "openai", "google")
"""Providers that have them."""

SUBMIT_SECONDS = 600.0
"""For a submission and for the results, which may be many megabytes; all else has the time of a call."""

ATTEMPTS, FIRST_PAUSE, LONGEST_PAUSE = 5, 2.0, 60.0
"""Of a submission or a reading that fails and may pass; pauses, in seconds, between two tries, and between two looks at a batch."""

LISTED_SECONDS = 60.0
"""After which a batch that was submitted stands in the provider's list."""

LARGEST_BYTES = 64_000_000
"""Of one submission, which is held in memory; the providers take more."""

Made = TypeVar("Made")


@dataclass(frozen=True)
class Progress:
    """How far a batch is.

    Args:
        ended: whether nothing more will come of it.
        done: requests that are answered, as far as the provider says; of: all.
        refused: why the provider took none of its requests, if it did not.
    """

    ended: bool
    done: int
    of: int
    refused: str = ""


@dataclass(frozen=True)
class Result:
    """What came of one request of a batch.

    Args:
        name: the request's.
        reply: none where there is none; error: why, and whether it costs something.
    """

    name: str
    reply: Reply | None = None
    error: ModelError | None = None


class Batches(Protocol):
    """The batches of a model: each method is one request, or a few, and retries nothing."""

    reference: str
    most_requests: int
    most_bytes: int

    def entry(self, name: str, request: ChatRequest) -> bytes:
        """Return a request as a batch holds it.

        Args:
            name: at most 64 letters, digits, `-` and `_`.
        """
        ...

    async def submit(self, label: str, entries: Sequence[bytes]) -> str:
        """Submit a batch; return its id.

        Args:
            label: by which it is found again; the names of its requests begin with it.
        """
        ...

    async def find(self, label: str, requests: int) -> list[str]:
        """Return the ids of the batches that may be the one of a label; whether one is, its results' names say.

        All that the provider still has are looked at: no time bounds them, because the clock of the machine that submitted may be wrong by any amount.

        Args:
            requests: that it has.
        """
        ...

    async def look(self, batch: str) -> Progress:
        """Return how far a batch is."""
        ...

    def results(self, batch: str) -> AsyncIterator[Result]:
        """Return what came of a batch that has ended."""
        ...

    async def cancel(self, batch: str) -> None:
        """Have the provider stop a batch; what it has answered by then stands in the results, and is billed."""
        ...


@runtime_checkable
class Batching(Protocol):
    """A model whose provider has batches."""

    def batches(self) -> Batches:
        """Return them."""
        ...


def name_of(label: str, number: int) -> str:
    """Return the name of a request of a batch: within the 64 letters, digits and dashes that Anthropic takes."""
    return f"{label}-{number:06d}"


async def patiently(ask: Callable[[], Awaitable[Made]], seconds: float) -> Made:
    """Ask a provider something that may be asked twice, until it answers.

    Raises:
        ModelError: it does not, or refuses; the last reason.
        RunStoppedError, SettingsError: it refuses.
    """
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return await in_time(ask(), seconds)
        except ModelError as error:
            if not error.retryable or attempt == ATTEMPTS:
                raise
            await asyncio.sleep(min(LONGEST_PAUSE, error.retry_after or FIRST_PAUSE * 2**attempt))
    raise AssertionError


async def in_time(asking: Awaitable[Made], seconds: float) -> Made:
    """Await a provider's answer.

    Raises:
        ModelTimeoutError: there is none in time.
    """
    try:
        async with asyncio.timeout(seconds):
            return await asking
    except TimeoutError as late:
        raise ModelTimeoutError(f"The provider did not answer about a batch within {seconds:g} s.") from late


async def submit(batches: Batches, label: str, entries: Sequence[bytes]) -> list[str]:
    """Submit a batch once, whatever becomes of the connection; return its id, or the ids of those that may be it.

    Raises:
        RunStoppedError: the provider does not take it; nothing is billed.
        UnavailableError: nobody knows whether it has; the label finds it later.
    """
    pause = FIRST_PAUSE
    for _ in range(ATTEMPTS):
        try:
            return [await in_time(batches.submit(label, entries), SUBMIT_SECONDS)]
        except (RunStoppedError, SettingsError) as error:
            raise refused(batches.reference, str(error)) from error
        except ModelError as error:
            if not error.retryable:
                raise refused(batches.reference, str(error)) from error
            last = error
        await asyncio.sleep(min(LONGEST_PAUSE, last.retry_after or pause))
        pause *= 2
        # a connection that breaks, and a server that fails, may have taken it all the same
        if (isinstance(last, ProviderError) or not last.unbilled) and (ids := await find(batches, label, len(entries))):
            return ids
    raise UnavailableError(
        f"{batches.reference} does not accept a batch ({last}). Run the same command again when the provider is back; what was made is kept."
    )


async def find(batches: Batches, label: str, requests: int) -> list[str]:
    """Return the ids of the batches that may be the one of a label, once the provider lists it.

    Arguments as for `Batches.find`.
    """
    pause, until = FIRST_PAUSE, time.monotonic() + LISTED_SECONDS
    while True:
        ids = await patiently(lambda: batches.find(label, requests), SUBMIT_SECONDS)
        if ids or time.monotonic() > until:
            return ids
        await asyncio.sleep(pause)
        pause = min(LONGEST_PAUSE, 2 * pause)


def refused(reference: str, reason: str) -> RunStoppedError:
    """Return the error for a batch that the provider did not take as a whole."""
    return RunStoppedError(
        f"{reference} did not accept the batch: {reason.rstrip('.')}. Nothing was billed for it. Fix that and run the same command again, or set "
        "assessment.batch: false to judge by ordinary calls, at twice the price."
    )
