"""Virtual time and a simulated provider: minutes of traffic in milliseconds."""

import asyncio
import itertools
import json
from collections.abc import Coroutine
from typing import Any

from core.errors import OverloadedError, RateLimitError
from core.llm.calls import Caller
from core.llm.chat import Allowance, ChatRequest, Message, Reply, Usage
from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.prices import Given
from core.settings.models import Budget, Calls, ModelSettings, Price
from core.storage.store import Store

CALLS = Calls(
    concurrency=8,
    timeout_seconds=60,
    attempts=5,
    total_seconds=300,
    first_backoff_seconds=0.5,
    longest_backoff_seconds=20,
    longest_wait_seconds=120,
    outage_seconds=120,
    unusable_answers=3,
)


class VirtualLoop(asyncio.SelectorEventLoop):
    """An event loop that advances its clock to the next timer when all tasks sleep."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 1000.0

    def time(self) -> float:
        return self.now

    def _run_once(self) -> None:
        if not self._ready and self._scheduled:  # ty: ignore[missing-attribute]
            self.now = max(self.now, self._scheduled[0]._when)  # ty: ignore[missing-attribute]
        super()._run_once()  # ty: ignore[missing-attribute]


def in_virtual_time(work: Coroutine[Any, Any, Any]) -> Any:
    with asyncio.Runner(loop_factory=VirtualLoop) as runner:
        return runner.run(work)


def clock() -> float:
    return asyncio.get_event_loop().time()


class Provider:
    """A provider with buckets for requests and uncached input tokens, a concurrency limit, and outages."""

    reference, caveat = "anthropic/simulated", None

    def __init__(self, per_minute=None, burst=1.0, tokens_per_minute=None, token_burst=0.0, at_once=None, latency=0.2, tells=False, down=(), others=0.0):
        self.limits = {"requests": (per_minute, burst), "tokens": (tokens_per_minute, token_burst)}
        self.left = {kind: float(size) for kind, (_, size) in self.limits.items()}
        self.at_once, self.latency, self.tells, self.down, self.others = at_once, latency, tells, down, others
        self.seen, self.in_flight, self.most_in_flight = None, 0, 0
        self.accepted, self.refused, self.failed = [], 0, 0

    def _refill(self, now: float) -> None:
        for kind, (per_minute, size) in self.limits.items():
            if per_minute and self.seen is not None:
                self.left[kind] = min(size, self.left[kind] + (per_minute * (1 - self.others)) / 60 * (now - self.seen))
        self.seen = now

    async def complete(self, request: ChatRequest) -> Reply:
        now = clock()
        self._refill(now)
        if any(start <= now - 1000 < end for start, end in self.down):
            self.failed += 1
            await asyncio.sleep(0.01)
            raise OverloadedError("down")
        tokens = len(request.messages[0].content) // 4
        short = [
            kind for kind, cost in (("requests", 1.0), ("tokens", float(tokens))) if self.limits[kind][0] and self.left[kind] < min(cost, self.limits[kind][1])
        ]
        if short or (self.at_once and self.in_flight >= self.at_once):
            self.refused += 1
            raise RateLimitError("too many", 1.0)
        self.left["requests"] -= 1
        self.left["tokens"] -= tokens
        self.accepted.append(now)
        self.in_flight += 1
        self.most_in_flight = max(self.most_in_flight, self.in_flight)
        await asyncio.sleep(self.latency)
        self.in_flight -= 1
        rate, size = self.limits["requests"]
        allowances = (Allowance("requests", rate, self.left["requests"], (size - self.left["requests"]) / (rate / 60)),) if self.tells and rate else ()
        return Reply("ok", "stop", Usage(tokens, 10), allowances)


def caller(provider: Any, folder: Any, limits: ModelSettings | None = None, calls: Calls = CALLS, budget: Budget | None = None, **more: Any) -> Caller:
    chosen = limits or ModelSettings(concurrency=50)
    limiter = Limiter(provider.reference, chosen, calls, cached_input_counts=False, clock=clock)
    return Caller(provider, limiter, calls, Given(Price(input=1, output=5)), Ledger(Store(str(folder)), "run", budget or Budget()), **more)


def asked(number: int = 0, characters: int = 400, **more: Any) -> ChatRequest:
    return ChatRequest("assistant", "", (Message("user", f"{number:08d}".ljust(characters, "x")),), 100, number, item=str(number), **more)


def user_said(message: str = "hello") -> str:
    return json.dumps({"message": message, "done": False})


async def many(model: Caller, count: int, at_once: int = 200, characters: int = 400) -> list[Any]:
    """Make many calls concurrently; return an answer or an exception for each."""
    slots = asyncio.Semaphore(at_once)

    async def one(number: int) -> Reply:
        async with slots:
            return await model.complete(asked(number, characters))

    return await asyncio.gather(*(one(number) for number in range(count)), return_exceptions=True)


async def served(limiter: Limiter, provider: Any, request: ChatRequest) -> None:
    """Send a request until it is accepted, without a ledger."""
    while True:
        call = await limiter.admit(request)
        try:
            reply = await provider.complete(request)
        except RateLimitError as refusal:
            limiter.failed(call, refusal)
            continue
        finally:
            limiter.leave()
        limiter.done(call, reply)
        return


async def keep_busy(limiter: Limiter, provider: Any, workers: int, seconds: float) -> None:
    """Send requests concurrently from a queue that never empties."""

    async def worker(first: int) -> None:
        for number in itertools.count(first, workers):
            await served(limiter, provider, asked(number))

    try:
        async with asyncio.timeout(seconds):
            await asyncio.gather(*(worker(number) for number in range(workers)))
    except TimeoutError:
        return
