"""One call's life: limit, send, classify, retry or give up, validate, account. The only place that retries a call."""

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import replace

from core.errors import InvalidOutputError, ModelError, ModelTimeoutError, RateLimitError, RefusedError, RunStoppedError, TruncatedError, UnderstudyError
from core.llm.chat import ChatModel, ChatRequest, Reply, Usage
from core.llm.ledger import Ledger, Sent
from core.llm.limiter import Call, Limiter
from core.llm.loops import circle_of
from core.llm.prices import PriceList, greatest_price
from core.llm.usage_bounds import charged_usage, most_characters, most_usage
from core.redaction import redact_value
from core.settings.models import Calls
from core.thinking import without_thinking

LONGEST_NAME = 200
"""Characters of a provider's name for a call."""

ESCAPED_NUL = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")


class Caller:
    """A model as the product uses it: calls are limited, retried, checked and paid for.

    Args:
        model: sends one request, once.
        limiter: shared by all that call this model.
        calls: the retry policy.
        prices: what its tokens cost.
        ledger: the run's bill and budget.
        tell: takes a sentence for the run's log.
    """

    def __init__(
        self, model: ChatModel, limiter: Limiter, calls: Calls, prices: PriceList, ledger: Ledger, tell: Callable[[str], object] = lambda _: None
    ) -> None:
        """Take what a call needs."""
        self._tell, self._surprised = tell, False
        self.reference, self.caveat = model.reference, model.caveat
        self._model, self._limiter, self._calls, self._prices, self._ledger = model, limiter, calls, prices, ledger

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        A failure that may pass is tried again until attempts or time run out. A structured answer that is cut off, and any answer that the
        request's check refuses, is asked for again with another seed, and with twice the room if it was cut off, unless it went round in circles. A plain
        answer that is cut off is returned as it is, unless the check refuses it.

        Raises:
            ModelError: no usable answer came; the last reason.
            RunStoppedError: there is no use in asking again now.
        """
        failures, failing_since, asked = 0, 0.0, request
        unusable = request.refused % self._calls.unusable_answers  # after all of them the same command starts over
        while True:
            try:
                return await self._once(asked)
            except (TruncatedError, InvalidOutputError) as error:
                unusable += 1
                if unusable >= self._calls.unusable_answers:
                    raise
                asked = replace(asked, seed=asked.seed + 1, max_tokens=asked.max_tokens * (2 if isinstance(error, TruncatedError) else 1))
            except ModelError as error:
                if not error.retryable:
                    raise
                failures += not isinstance(error, RateLimitError)  # the limiter makes these wait; time alone ends them
                failing_since = failing_since or time.monotonic()
                if failures >= self._calls.attempts or time.monotonic() - failing_since > self._calls.total_seconds:
                    tried = f"{time.monotonic() - failing_since:.0f} s and {failures} attempts" if failures else f"{time.monotonic() - failing_since:.0f} s"
                    raise type(error)(f"{error} Given up after {tried}.", error.retry_after) from error
                await asyncio.sleep(self._backoff(failures, error))

    async def _once(self, request: ChatRequest) -> Reply:
        call = await self._limiter.admit(request)
        try:
            most = most_usage(request, self.reference, self._ledger.surprises.get(self.reference, Usage()))
            sent = await self._ledger.reserve(request, self.reference, most, greatest_price(self._prices, most), self._calls.timeout_seconds)
            reply, problem = await self._recorded(sent, call)
        finally:
            self._limiter.leave()
        if problem:
            raise problem
        return reply

    async def _recorded(self, sent: Sent, call: Call) -> tuple[Reply, ModelError | None]:
        started = time.monotonic()

        def record(outcome: str, usage: Usage | None, usd: float | None, request_id: str | None = None, reported: str | None = None) -> None:
            self._ledger.record(sent, outcome, time.monotonic() - started, usage, usd, self._prices.version, request_id, reported)

        def record_failure(error: BaseException) -> None:
            name = "Cancelled" if isinstance(error, asyncio.CancelledError) else type(error).__name__
            if isinstance(error, UnderstudyError) and error.unbilled:
                record(name, None, 0.0)
            else:  # the provider may have written the whole answer by then, and bill it
                record(name, replace(sent.most, estimated=True), sent.usd)

        try:
            reply = await self._send(sent.request)
        except ModelError as error:
            record_failure(error)
            self._limiter.failed(call, error)
            raise
        except RunStoppedError as error:
            record_failure(error)
            self._limiter.close(error)
            raise
        except BaseException as error:
            record_failure(error)
            raise
        excess = self._ledger.surprises.get(self.reference, Usage())
        reply = replace(reply, usage=charged_usage(reply, sent.request, sent.most, excess))
        usd = greatest_price(self._prices, reply.usage) if reply.usage.estimated else self._prices.price(reply.usage)
        outcome = "unexpected"
        try:
            self._compare(reply.usage, sent.most)
            self._limiter.done(call, reply)
            problem = self._problem(sent.request, reply)
            outcome = type(problem).__name__ if problem else "ok"
        except RunStoppedError as error:  # such as a judge that is not asked further
            outcome = type(error).__name__
            raise
        finally:
            record(outcome, reply.usage, usd, reply.request_id, reply.reported)
        return reply, problem

    def _compare(self, usage: Usage, most: Usage) -> None:
        if self._surprised or (usage.input_tokens <= most.input_tokens and usage.output_tokens <= most.output_tokens):
            return
        self._surprised = True
        self._tell(
            f"{self.reference} counted {usage.input_tokens:,} tokens in and {usage.output_tokens:,} out, where at most {most.input_tokens:,} and "
            f"{most.output_tokens:,} were expected: the budget may be exceeded by that. More is set aside for its next calls."
        )

    async def _send(self, request: ChatRequest) -> Reply:
        deadline = asyncio.timeout(self._calls.timeout_seconds)
        try:
            async with deadline:
                return _clean(await self._model.complete(request), request)
        except TimeoutError as late:
            if not deadline.expired():
                raise ModelTimeoutError(f"{self.reference} broke off without an answer.") from late
            raise ModelTimeoutError(f"{self.reference} gave no answer in {self._calls.timeout_seconds:g} s (calls.timeout_seconds).") from late

    def _problem(self, request: ChatRequest, reply: Reply) -> ModelError | None:
        if fault := self._unsound(request, reply.text):
            return InvalidOutputError(f"{self.reference}: the answer {fault}.")
        if reply.finish == "refusal":
            said = " ".join(reply.text.split())[:LONGEST_NAME]
            return RefusedError(f"{self.reference} declined to answer{f': {said}' if said else '.'}")
        room = f"{request.max_tokens} tokens. Allow more (max_tokens of the stage)"
        cut = f"{self.reference} was cut off at {room}."
        if reply.thought and not reply.text.strip():
            cut = f"{self.reference} only thought, and was cut off before its answer at {room}, or have it think less."
        problem: ModelError | None = TruncatedError(cut) if reply.finish == "length" and request.schema else None
        if request.check:
            try:
                request.check(reply)
            except (InvalidOutputError, TruncatedError) as invalid:
                problem = problem or type(invalid)(f"{self.reference}: {invalid}")
        if problem is None and not reply.text.strip():
            problem = TruncatedError(cut) if reply.finish == "length" else InvalidOutputError(f"{self.reference} answered nothing.")
        if isinstance(problem, TruncatedError) and (circle := circle_of(reply.text)):  # with twice the room it would write twice as much of it
            problem = InvalidOutputError(
                f"{self.reference} says the same over and over ({circle[:60]!r}), until it was cut off at {request.max_tokens} tokens."
            )
        return problem

    def _unsound(self, request: ChatRequest, text: str) -> str | None:
        """Say what makes a text one that can be neither kept nor sent on; none if nothing does."""
        if len(text) > (most := most_characters(request, self.reference)):
            return f"has {len(text):,} characters, where {request.max_tokens:,} tokens were asked for ({most:,} at most)"
        if "\0" in text or (request.schema and ESCAPED_NUL.search(text)):
            return "has a NUL character"
        try:
            text.encode()
        except UnicodeEncodeError:
            return "has half a character (a lone surrogate)"
        return None

    def _backoff(self, failures: int, error: ModelError) -> float:
        if isinstance(error, RateLimitError):
            return 0.0
        if error.retry_after is not None:
            return min(error.retry_after, self._calls.longest_wait_seconds)
        return min(self._calls.longest_backoff_seconds, self._calls.first_backoff_seconds * 2 ** (failures - 1)) * random.uniform(0.5, 1)


def _clean(reply: Reply, request: ChatRequest) -> Reply:
    """Return a reply without thoughts that stand in its text, and without our own secrets: what answers may be a proxy that repeats what it was sent."""
    # a structured answer was read from among its thoughts, and its strings may quote their marks
    text, thought = (reply.text, False) if request.schema else without_thinking(reply.text, cut=reply.finish == "length")
    text, request_id, reported, raw = redact_value([text, _named(reply.request_id), _named(reply.reported), dict(reply.usage.raw)])
    return replace(reply, text=text, thought=reply.thought or thought, usage=replace(reply.usage, raw=raw), request_id=request_id, reported=reported)


def _named(said: object) -> str | None:
    """Return a name that a provider gave; none where it gave none."""
    return said[:LONGEST_NAME].encode(errors="replace").decode() or None if isinstance(said, str) else None
