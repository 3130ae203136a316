"""The limiter of a model within one process: it keeps to known limits, finds unknown ones, and delays all calls together after failures."""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from types import MappingProxyType

from core.errors import ModelError, RateLimitError, RunStoppedError, UnavailableError
from core.llm.chat import Allowance, ChatRequest, Reply, Usage
from core.llm.pacing import SLACK, Bucket, Episode, Pace
from core.records import LimitKind
from core.settings.models import Calls, ModelSettings

SHARE = 0.99
"""Used share of a known limit; the margin allows for differences between the provider's clock and ours."""

TOKEN_SLACK = 1.0
"""Seconds' worth of tokens that may be used in advance; a request takes many at a time."""

SUSPECT = 8
"""Consecutive failures after which calls are sent one at a time to find out whether the provider is back."""

TOKENS_PER_CHARACTER, OUTPUT_TOKENS = 0.3, 1000
"""Initial estimates of tokens per character of a prompt and of tokens per answer, replaced by measurements."""

CACHE_SIZE = 4096
"""Number of conversations whose last prompt length is remembered."""


@dataclass
class Call:
    """A call under way.

    Args:
        key: the item and the role of the request.
        characters: length of the prompt.
        sent: time of sending, in seconds of the limiter's clock.
        episode: the episode of the pace that the call belongs to.
        reserved: amount taken from each limit.
    """

    key: tuple[str, str]
    characters: int
    sent: float
    episode: Episode
    reserved: dict[LimitKind, float]


class Limiter:
    """Admits calls to one model at the rate that its limits allow.

    Args:
        model: name of the model in errors.
        limits: the known limits; others are read from the provider's headers or found by trying.
        calls: the retry policy.
        cached_input_counts: whether cached input counts towards the limit on input tokens.
        clock: returns a time in seconds; replaced in tests.
    """

    def __init__(self, model: str, limits: ModelSettings, calls: Calls, cached_input_counts: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with the limits of the settings."""
        self._model, self._limits, self._calls, self._cached_counts, self._clock = model, limits, calls, cached_input_counts, clock
        self.buckets: dict[LimitKind, Bucket] = {}
        for kind, per_minute in limits.per_minute().items():
            self._learn(kind, per_minute)
        self._at_once = limits.share_of_concurrency()
        self._pace = Pace()
        self.in_flight = 0
        self._turn = asyncio.Lock()
        self._changed = asyncio.Event()
        self._gate = 0.0
        self._failures, self._failing_since = 0, 0.0
        self._closed: tuple[float, RunStoppedError] | None = None
        self._characters: OrderedDict[tuple[str, str], int] = OrderedDict()
        self._per_character = TOKENS_PER_CHARACTER
        self._output: dict[str, float] = {}

    async def admit(self, request: ChatRequest) -> Call:
        """Wait for a turn, in order of arrival. The caller then reports the result with `done` or `failed`, and always calls `leave` at the end.

        Raises:
            RunStoppedError: the model has failed for too long, asked for too long a wait, or rejects every call, or its limit is too small for a
                single call.
        """
        async with self._turn:
            while True:
                now = self._clock()
                if self._closed:
                    until, reason = self._closed
                    if now < until:
                        raise type(reason)(str(reason), reason.retry_after)
                    self._closed, self._failures = None, 0
                if self.in_flight >= (1 if self._failures >= SUSPECT else self._at_once):
                    self._changed.clear()
                    await self._changed.wait()
                    continue
                pause = self._pace.wait(now) if self._pace.cut or "requests" not in self.buckets else 0.0
                wait = max(self._gate - now, pause, *(bucket.wait(now) for bucket in self.buckets.values()))
                if wait <= 0:
                    break
                await asyncio.sleep(min(wait, self._calls.longest_backoff_seconds))
            expected = self.expected(request)
            reserved = {kind: amount for kind, amount in self._used(expected).items() if kind in self.buckets}
            for kind, amount in reserved.items():
                self._check_fits(kind, amount)
            for kind, amount in reserved.items():
                self.buckets[kind].take(now, amount)
            episode = self._pace.sent(now)
            self.in_flight += 1
            return Call((request.item, request.role), self._count(request), now, episode, reserved)

    def _check_fits(self, kind: LimitKind, amount: float) -> None:
        rate = self.buckets[kind].rate
        if amount / rate > self._calls.longest_wait_seconds:
            raise UnavailableError(
                f"{self._model} is limited to {rate / SHARE * 60:,.3g} {kind.replace('_', ' ')} a minute, and each call of this run takes {amount:,.0f}: "
                f"{amount / rate:,.0f} s of waiting for each, more than calls.longest_wait_seconds, {self._calls.longest_wait_seconds:g}. Use another "
                "model or account, correct the limits in models, or allow a longer wait."
            )

    def leave(self) -> None:
        """End a call and admit the next one."""
        self.in_flight -= 1
        self._changed.set()

    def done(self, call: Call, reply: Reply) -> None:
        """Correct the reservation of an answered call to its actual usage, and learn from the usage and the reported limits."""
        now = self._clock()
        self._failures = 0
        for kind, used in self._used(reply.usage).items():
            if kind in self.buckets:
                self.buckets[kind].correct(used - call.reserved.get(kind, 0.0))
        if reply.usage.input_tokens and call.characters and not reply.usage.estimated:
            self._per_character += 0.2 * (reply.usage.input_tokens / call.characters - self._per_character)
        role = call.key[1]
        if not reply.usage.estimated:
            self._output[role] = self._output.get(role, reply.usage.output_tokens) * 0.8 + reply.usage.output_tokens * 0.2
        self._remember(call)
        self.observe(reply.allowances, now, self._used(reply.usage))

    def failed(self, call: Call, error: ModelError) -> None:
        """Release the reservation of a failed call and adapt: reduce the pace after a rate limit, send one call at a time after many failures in a row."""
        now = self._clock()
        for kind, amount in call.reserved.items():
            if kind != "requests" and kind in self.buckets:
                self.buckets[kind].correct(-amount)
        self.observe(error.allowances, now, call.reserved)
        if not error.retryable:
            self._failures = 0
            return
        if isinstance(error, RateLimitError):
            self._gate = max(self._gate, now + (error.retry_after if error.retry_after is not None else self._calls.first_backoff_seconds))
            self._pace.refused(now, call.sent, call.episode, self._gate)
        if self._failures == 0:
            self._failing_since = now
        self._failures += 1
        if self._failures >= SUSPECT and not isinstance(error, RateLimitError):
            self._gate = max(self._gate, now + min(self._calls.longest_backoff_seconds, self._calls.first_backoff_seconds * 2 ** (self._failures - SUSPECT)))
        if self._failures >= SUSPECT and now - self._failing_since >= self._calls.outage_seconds:
            failing = f"{self._model} has not answered for {now - self._failing_since:.0f} s ({self._failures} failures in a row, the last: {error})."
            self.close(UnavailableError(f"{failing} Run the same command again when the provider is back; everything made so far is kept."))
        elif error.retry_after is not None and error.retry_after > self._calls.longest_wait_seconds:
            back = datetime.now().astimezone() + timedelta(seconds=error.retry_after)
            asked = f"{self._model} asks to wait {error.retry_after:.0f} s; calls.longest_wait_seconds allows {self._calls.longest_wait_seconds:g}."
            self.close(UnavailableError(f"{asked} Run the same command again after {back:%Y-%m-%d %H:%M}; everything made so far is kept.", error.retry_after))

    def close(self, reason: RunStoppedError) -> None:
        """Refuse all calls for `calls.outage_seconds`, so that a batch ends once one call has shown that all others would fail too."""
        self._closed = (self._clock() + self._calls.outage_seconds, reason)
        self._changed.set()

    def observe(self, allowances: Sequence[Allowance], now: float | None = None, own: Mapping[LimitKind, float] = MappingProxyType({})) -> None:
        """Adopt the limits that a provider reports, and slow down if other clients use them too.

        Args:
            allowances: the reported limits.
            now: time of the report, in seconds of the limiter's clock; None for the current time.
            own: usage of the call whose reply contained the report; a single call may use more than half of a small limit.
        """
        at = self._clock() if now is None else now
        for item in allowances:
            if item.limit:
                configured = self._limits.per_minute().get(item.kind)
                self._learn(item.kind, min(item.limit / self._limits.runs_at_once, configured or item.limit))
            bucket = self.buckets.get(item.kind)
            if bucket and item.remaining is not None and item.reset:
                # if the provider's bucket is less than half full, other clients use it or we were too fast: take no more than flows in
                bucket.factor = min(1.0, max(0.1, (item.remaining + own.get(item.kind, 0.0)) / item.reset / (bucket.rate / SHARE)))
            elif bucket:
                bucket.factor = 1.0
            if item.kind == "requests" and item.remaining == 0 and item.reset:
                self._gate = max(self._gate, at + min(item.reset, 60 / max(1.0, item.limit or 60)))

    def expected(self, request: ChatRequest) -> Usage:
        """Return the expected tokens of a request; if cached input does not count towards the limit, only uncached input is included."""
        characters = self._count(request)
        cached = 0 if self._cached_counts else self._characters.get((request.item, request.role), 0)
        output = self._output.get(request.role, OUTPUT_TOKENS)
        return Usage(input_tokens=round(max(0, characters - cached) * self._per_character), output_tokens=round(min(output, request.max_tokens)))

    def _learn(self, kind: LimitKind, per_minute: float) -> None:
        rate = per_minute / 60 * SHARE
        if kind in self.buckets:
            self.buckets[kind].rate = rate
        else:
            self.buckets[kind] = Bucket(rate, SLACK if kind == "requests" else TOKEN_SLACK)

    def _used(self, usage: Usage) -> dict[LimitKind, float]:
        read = usage.input_tokens if self._cached_counts else usage.input_tokens - usage.cache_read_tokens
        return {"requests": 1.0, "input_tokens": read, "output_tokens": usage.output_tokens, "tokens": read + usage.output_tokens}

    def _count(self, request: ChatRequest) -> int:
        return len(request.system) + sum(len(message.content) for message in request.messages)

    def _remember(self, call: Call) -> None:
        if call.key[0]:
            self._characters[call.key] = call.characters
            self._characters.move_to_end(call.key)
            if len(self._characters) > CACHE_SIZE:
                self._characters.popitem(last=False)
