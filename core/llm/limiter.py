"""One limiter for each model and process: it keeps known limits, finds unknown ones, and waits out failures together."""

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
"""Of a known limit: a provider's clock is not ours."""

TOKEN_SLACK = 1.0
"""Seconds' worth of tokens that may be used up ahead; a request takes many at a time."""

SUSPECT = 8
"""Failures in a row after which one call at a time finds out whether the provider is back."""

TOKENS_PER_CHARACTER, OUTPUT_TOKENS = 0.3, 1000
"""First guesses, replaced by what is measured."""

REMEMBERED = 4096
"""Conversations whose last prompt length is kept."""


@dataclass
class Call:
    """One call under way, and what was reserved for it."""

    key: tuple[str, str]
    characters: int
    sent: float
    episode: Episode
    reserved: dict[LimitKind, float]


class Limiter:
    """Lets calls to one model through.

    Args:
        model: how errors name it.
        limits: the known limits; what is not given is taken from the provider's headers, or found by trying.
        calls: the retry policy.
        cached_input_counts: whether cached input counts towards the limit on input tokens.
        clock: seconds; replaced in tests.
    """

    def __init__(self, model: str, limits: ModelSettings, calls: Calls, cached_input_counts: bool = True, clock: Callable[[], float] = time.monotonic) -> None:
        """Start with what the settings say."""
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
        """Wait for a turn, in order of arrival. `done` or `failed` tells what came of the call, and `leave` ends it.

        Raises:
            RunStoppedError: the model has failed for too long, or asked to wait too long, or refused all that is asked of it, or its limit is too small for
                a single call.
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
                found = self._pace.wait(now) if self._pace.cut or "requests" not in self.buckets else 0.0
                wait = max(self._gate - now, found, *(bucket.wait(now) for bucket in self.buckets.values()))
                if wait <= 0:
                    break
                await asyncio.sleep(min(wait, self._calls.longest_backoff_seconds))
            expected = self.expected(request)
            reserved = {kind: amount for kind, amount in self._used(expected).items() if kind in self.buckets}
            for kind, amount in reserved.items():
                self._see_that_it_fits(kind, amount)
            for kind, amount in reserved.items():
                self.buckets[kind].take(now, amount)
            episode = self._pace.sent(now)
            self.in_flight += 1
            return Call((request.item, request.role), self._count(request), now, episode, reserved)

    def _see_that_it_fits(self, kind: LimitKind, amount: float) -> None:
        rate = self.buckets[kind].rate
        if amount / rate > self._calls.longest_wait_seconds:
            raise UnavailableError(
                f"{self._model} is limited to {rate / SHARE * 60:,.3g} {kind.replace('_', ' ')} a minute, and each call of this run takes {amount:,.0f}: "
                f"{amount / rate:,.0f} s of waiting for each, more than calls.longest_wait_seconds, {self._calls.longest_wait_seconds:g}. Use another "
                "model or account, correct the limits in models, or allow a longer wait."
            )

    def leave(self) -> None:
        """Make room for the next call."""
        self.in_flight -= 1
        self._changed.set()

    def done(self, call: Call, reply: Reply) -> None:
        """Settle a call by its true usage and learn from what came with it."""
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
        """Draw the consequences of a failure that may pass: a cut for a rate limit, a probe at a time for a run of failures."""
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
            self.close(UnavailableError(f"{failing} Run the same command again when the provider is back; what was made is kept."))
        elif error.retry_after is not None and error.retry_after > self._calls.longest_wait_seconds:
            back = datetime.now().astimezone() + timedelta(seconds=error.retry_after)
            asked = f"{self._model} asks to wait {error.retry_after:.0f} s; calls.longest_wait_seconds allows {self._calls.longest_wait_seconds:g}."
            self.close(UnavailableError(f"{asked} Run the same command again after {back:%Y-%m-%d %H:%M}; what was made is kept.", error.retry_after))

    def close(self, reason: RunStoppedError) -> None:
        """Let no call through for a while, so that a batch ends where one call has learned that all the others would fail too."""
        self._closed = (self._clock() + self._calls.outage_seconds, reason)
        self._changed.set()

    def observe(self, allowances: Sequence[Allowance], now: float | None = None, own: Mapping[LimitKind, float] = MappingProxyType({})) -> None:
        """Adopt the limits that a provider tells; slow down where others use them too.

        Args:
            own: what the call used with which they came: of a small limit that alone is more than half.
        """
        at = self._clock() if now is None else now
        for item in allowances:
            if item.limit:
                known = self._limits.per_minute().get(item.kind)
                self._learn(item.kind, min(item.limit / self._limits.runs_at_once, known or item.limit))
            bucket = self.buckets.get(item.kind)
            if bucket and item.remaining is not None and item.reset:
                # a provider's bucket that is less than half full has others at it, or us ahead of our time: take no more than flows in
                bucket.factor = min(1.0, max(0.1, (item.remaining + own.get(item.kind, 0.0)) / item.reset / (bucket.rate / SHARE)))
            elif bucket:
                bucket.factor = 1.0
            if item.kind == "requests" and item.remaining == 0 and item.reset:
                self._gate = max(self._gate, at + min(item.reset, 60 / max(1.0, item.limit or 60)))

    def expected(self, request: ChatRequest) -> Usage:
        """Return the tokens that a request is likely to take, uncached input only where cached input does not count."""
        characters = self._count(request)
        known = 0 if self._cached_counts else self._characters.get((request.item, request.role), 0)
        output = self._output.get(request.role, OUTPUT_TOKENS)
        return Usage(input_tokens=round(max(0, characters - known) * self._per_character), output_tokens=round(min(output, request.max_tokens)))

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
            if len(self._characters) > REMEMBERED:
                self._characters.popitem(last=False)
