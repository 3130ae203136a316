"""The life cycle of a call: limit, send, classify, retry or give up, validate, charge. Calls are retried only here."""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import replace

from core.errors import InvalidOutputError, ModelError, ModelTimeoutError, RateLimitError, RunStoppedError, TruncatedError
from core.llm.chat import ChatModel, ChatRequest, Reply
from core.llm.ledger import Ledger, Sent
from core.llm.limiter import Call, Limiter
from core.llm.prices import PriceList
from core.llm.till import Till, clean
from core.settings.models import Calls


class Caller:
    """A model whose calls are limited, retried, checked and charged.

    Args:
        model: the adapter, which sends a request once.
        limiter: shared by all callers of this model.
        calls: the retry policy.
        prices: the prices of the model's tokens.
        ledger: the run's bill and budget.
        tell: writes a sentence to the run's log.
    """

    def __init__(
        self, model: ChatModel, limiter: Limiter, calls: Calls, prices: PriceList, ledger: Ledger, tell: Callable[[str], object] = lambda _: None
    ) -> None:
        """Create a caller without sending anything."""
        self.reference, self.caveat = model.reference, model.caveat
        self._model, self._limiter, self._calls = model, limiter, calls
        self._till = Till(model.reference, prices, ledger, tell)

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        - A failure that may be temporary is retried until `calls.attempts` or `calls.total_seconds` is used up.
        - An unusable answer (a structured one that was cut off, or one that the request's check rejects) is requested again with another seed, up
          to `calls.unusable_answers` attempts in total. After a cut-off answer `max_tokens` is doubled, unless the model repeated itself.
        - A plain answer that was cut off is returned unchanged, unless the check rejects it.

        Raises:
            ModelError: no usable answer came; the error of the last attempt.
            RunStoppedError: further calls would fail too.
        """
        failures, failing_since, attempt = 0, 0.0, request
        unusable = request.refused % self._calls.unusable_answers  # a run that resumes after the last attempt starts counting again
        while True:
            try:
                return await self._once(attempt)
            except (TruncatedError, InvalidOutputError) as error:
                unusable += 1
                if unusable >= self._calls.unusable_answers:
                    raise
                attempt = replace(attempt, seed=attempt.seed + 1, max_tokens=attempt.max_tokens * (2 if isinstance(error, TruncatedError) else 1))
            except ModelError as error:
                if not error.retryable:
                    raise
                failures += not isinstance(error, RateLimitError)  # the limiter delays these calls; only `total_seconds` ends them
                failing_since = failing_since or time.monotonic()
                if failures >= self._calls.attempts or time.monotonic() - failing_since > self._calls.total_seconds:
                    tried = f"{time.monotonic() - failing_since:.0f} s and {failures} attempts" if failures else f"{time.monotonic() - failing_since:.0f} s"
                    raise type(error)(f"{error} Given up after {tried}.", error.retry_after) from error
                await asyncio.sleep(self._backoff(failures, error))

    async def _once(self, request: ChatRequest) -> Reply:
        call = await self._limiter.admit(request)
        try:
            sent = await self._till.reserve(request, self._calls.timeout_seconds)
            reply, problem = await self._recorded(sent, call)
        finally:
            self._limiter.leave()
        if problem:
            raise problem
        return reply

    async def _recorded(self, sent: Sent, call: Call) -> tuple[Reply, ModelError | None]:
        started = time.monotonic()
        try:
            reply = await self._send(sent.request)
        except BaseException as error:
            self._till.settle_failure(sent, error, time.monotonic() - started)
            if isinstance(error, ModelError):
                self._limiter.failed(call, error)
            elif isinstance(error, RunStoppedError):
                self._limiter.close(error)
            raise
        return self._till.settle(sent, reply, time.monotonic() - started, lambda charged: self._limiter.done(call, charged))

    async def _send(self, request: ChatRequest) -> Reply:
        deadline = asyncio.timeout(self._calls.timeout_seconds)
        try:
            async with deadline:
                return clean(await self._model.complete(request), request)
        except TimeoutError as late:
            if not deadline.expired():
                raise ModelTimeoutError(f"{self.reference} stopped without an answer.") from late
            raise ModelTimeoutError(f"{self.reference} did not answer within {self._calls.timeout_seconds:g} s (calls.timeout_seconds).") from late

    def _backoff(self, failures: int, error: ModelError) -> float:
        if isinstance(error, RateLimitError):
            return 0.0
        if error.retry_after is not None:
            return min(error.retry_after, self._calls.longest_wait_seconds)
        return min(self._calls.longest_backoff_seconds, self._calls.first_backoff_seconds * 2 ** (failures - 1)) * random.uniform(0.5, 1)
