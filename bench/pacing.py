"""Simulates in virtual time how the limiter finds limits and recovers from bursts of refusals, compared with AIMD.

    python -m bench.pacing        (make bench-pacing)

Takes 1 minute.

Each scenario is minutes of traffic, once with the product's limiter and once with AIMD with slow start on the number of calls in flight, as in TCP's congestion
control (RFC 5681). The queue of requests never becomes empty.
"""

import asyncio
import contextlib
import itertools
import random
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from core.errors import RateLimitError
from core.llm.chat import ChatRequest, Reply, Usage
from core.llm.limiter import Limiter
from core.settings.models import ModelSettings
from tests.core.simulation import CALLS, asked, clock, in_virtual_time, served

START = 1000.0


@dataclass
class Provider:
    """A provider with a token bucket, a maximum of concurrent calls, and times at which it refuses requests.

    Args:
        rate: accepted requests per second, as a function of time; None for no limit.
        size: number of requests that a full bucket allows.
        at_once: maximum of concurrent calls; None for no maximum.
        latency: seconds of an answer, as a function of a random generator.
        refuses: whether a request is refused without a visible reason, as a function of the time and a random number from 0 to 1.
        retry_after: seconds that a refusal asks to wait; None if it names none.
    """

    rate: Callable[[float], float] | None = None
    size: float = 1.0
    at_once: int | None = None
    latency: Callable[[random.Random], float] = lambda _: 0.1
    refuses: Callable[[float, float], bool] = lambda _at, _chance: False
    retry_after: float | None = 1.0
    left: float = -1.0
    seen: float = 0.0
    in_flight: int = 0
    accepted: list[float] = field(default_factory=list)
    refused: list[float] = field(default_factory=list)
    chance: random.Random = field(default_factory=lambda: random.Random(7))

    async def complete(self, _: ChatRequest) -> Reply:
        """Accept or refuse a request."""
        now = clock() - START
        if self.rate:
            self.left = self.size if self.left < 0 else min(self.size, self.left + self.rate(now) * (now - self.seen))
            self.seen = now
        full = (self.rate and self.left < 1) or (self.at_once and self.in_flight >= self.at_once)
        if full or self.refuses(now, self.chance.random()):
            self.refused.append(now)
            await asyncio.sleep(0.05)
            raise RateLimitError("too many", self.retry_after)
        self.left -= 1
        self.accepted.append(now)
        self.in_flight += 1
        await asyncio.sleep(self.latency(self.chance))
        self.in_flight -= 1
        return Reply("ok", "stop", Usage(100, 10))


class Aimd:
    """A window of calls in flight: it doubles with each round trip until the first refusal, halves at each burst, and grows by one after each full window."""

    def __init__(self, at_once: int) -> None:
        self.maximum, self.window, self.threshold, self.in_flight = at_once, 1.0, float(at_once), 0
        self.gate, self.last_cut, self.changed = 0.0, 0.0, asyncio.Event()

    async def call(self, provider: Provider, request: ChatRequest) -> None:
        while True:
            while self.in_flight >= max(1, int(self.window)) or clock() < self.gate:
                if clock() < self.gate:
                    await asyncio.sleep(self.gate - clock())
                else:
                    self.changed.clear()
                    await self.changed.wait()
            sent, self.in_flight = clock(), self.in_flight + 1
            try:
                await provider.complete(request)
            except RateLimitError as refusal:
                self.gate = max(self.gate, clock() + (refusal.retry_after or 0.5))
                if sent > self.last_cut:
                    self.window, self.last_cut = max(1.0, self.window / 2), clock()
                    self.threshold = self.window
                continue
            finally:
                self.in_flight -= 1
                self.changed.set()
            self.window = min(self.maximum, self.window + (1 if self.window < self.threshold else 1 / self.window))
            return


@dataclass
class Scenario:
    """One row of the table.

    Args:
        provider: creates the provider of a run.
        limits: settings of each client's limiter.
        seconds: simulated duration.
        clients: number of clients that use the provider at the same time.
        begins, ends: start and end of a burst; the rate after it is compared with the rate before it. None if there is no burst.
        best: maximum number of requests that could be accepted in the whole duration; None if it is not compared.
    """

    name: str
    provider: Callable[[], Provider]
    limits: ModelSettings = field(default_factory=lambda: ModelSettings(concurrency=50))
    seconds: float = 120.0
    clients: int = 1
    begins: float | None = None
    ends: float | None = None
    best: float | None = None


def between(*spans: tuple[float, float]) -> Callable[[float, float], bool]:
    """Return a function that refuses every request within spans of time."""
    return lambda at, _: any(start <= at < end for start, end in spans)


def steady(rate: float) -> Callable[[float], float]:
    """Return a rate that never changes."""
    return lambda _: rate


def scenarios() -> list[Scenario]:
    """Return the scenarios of the table."""
    eight, known = ModelSettings(concurrency=8), ModelSettings(concurrency=50, requests_per_minute=4000)
    rows = [
        Scenario(f"constant {per_minute}/min, bucket of {size}", lambda r=per_minute / 60, s=size: Provider(steady(r), s), seconds=600, best=10 * per_minute)
        for per_minute, size in ((60, 1), (60, 10), (600, 10), (1800, 30), (6000, 100), (600, 600))
    ]
    rows += [
        Scenario("no limit, burst of 5 s, 8 at once", lambda: Provider(refuses=between((30, 35))), eight, begins=30, ends=35),
        Scenario("no limit, burst of 30 s, 8 at once", lambda: Provider(refuses=between((30, 60))), eight, begins=30, ends=60),
        Scenario(
            "no limit, half refused for 5 s, 8 at once", lambda: Provider(refuses=lambda at, chance: 30 <= at < 35 and chance < 0.5), eight, begins=30, ends=35
        ),
        Scenario("known 4,000/min, burst of 5 s", lambda: Provider(steady(4000 / 60), 60, refuses=between((30, 35))), known, begins=30, ends=35),
        Scenario(
            "known 4,000/min, burst of 5 s, Retry-After 15",
            lambda: Provider(steady(4000 / 60), 60, refuses=between((30, 35)), retry_after=15),
            known,
            begins=30,
            ends=35,
        ),
        Scenario("unknown 1,800/min, burst of 5 s", lambda: Provider(steady(30), 30, refuses=between((60, 65))), begins=60, ends=65),
        Scenario("no Retry-After, burst of 5 s, 8 at once", lambda: Provider(refuses=between((30, 35)), retry_after=None), eight, begins=30, ends=35),
        Scenario("a burst of 3 s each 30 s, 8 at once", lambda: Provider(refuses=lambda at, _: at % 30 < 3), eight, seconds=300, best=0.9 * 80 * 300),
        Scenario("1 % refused at random, 8 at once", lambda: Provider(refuses=lambda _, chance: chance < 0.01), eight, seconds=300, best=80 * 300),
        Scenario("limit falls from 1,800 to 300/min", lambda: Provider(lambda at: 30 if at < 60 else 5, 30), seconds=180, best=30 * 60 + 5 * 120),
        Scenario("limit rises from 300 to 1,800/min", lambda: Provider(lambda at: 5 if at < 60 else 30, 5), seconds=180, best=5 * 60 + 30 * 120),
        Scenario("two clients, 1,800/min", lambda: Provider(steady(30), 30), seconds=300, clients=2, best=30 * 300),
        Scenario("8 calls at once, latency 0.2 s", lambda: Provider(at_once=8, latency=lambda _: 0.2), seconds=300, best=40 * 300),
        Scenario(
            "8 calls at once, latency 0.5 to 8 s", lambda: Provider(at_once=8, latency=lambda chance: chance.uniform(0.5, 8)), seconds=600, best=8 / 4.25 * 600
        ),
        Scenario("30/min, latency 2 to 10 s", lambda: Provider(steady(0.5), 1, latency=lambda chance: chance.uniform(2, 10)), seconds=900, best=450),
    ]
    return rows


def play(scenario: Scenario, how: str) -> dict[str, Any]:
    """Simulate a scenario; return the share of refusals and, as far as the scenario has them, use, recovery and the clients' shares."""

    async def run() -> tuple[Provider, list[int]]:
        provider, shares = scenario.provider(), [0] * scenario.clients
        numbers = itertools.count()

        async def client(who: int) -> None:
            at_once = scenario.limits.concurrency or 1
            product = Limiter("simulated", scenario.limits, CALLS.model_copy(update={"outage_seconds": 1e6}), clock=clock)
            aimd = Aimd(at_once)

            async def worker() -> None:
                while True:
                    request = asked(next(numbers))
                    await (served(product, provider, request) if how == "product" else aimd.call(provider, request))
                    shares[who] += 1

            await asyncio.gather(*(worker() for _ in range(2 * at_once)))

        work: Coroutine[Any, Any, Any] = asyncio.wait_for(asyncio.gather(*(client(who) for who in range(scenario.clients))), scenario.seconds)
        with contextlib.suppress(TimeoutError):
            await work
        return provider, shares

    provider, shares = in_virtual_time(run())
    seen: dict[str, Any] = {"refused": len(provider.refused) / max(1, len(provider.refused) + len(provider.accepted))}
    if scenario.best:
        seen["used"] = len(provider.accepted) / scenario.best
    if scenario.ends and scenario.begins:
        before = rate(provider, scenario.begins - 10, scenario.begins)
        back = next(
            (
                second
                for second in range(int(scenario.seconds - scenario.ends) - 3)
                if rate(provider, scenario.ends + second, scenario.ends + second + 3) >= 0.9 * before
            ),
            None,
        )
        seen["back"] = back
    if scenario.clients > 1:
        seen["shares"] = [number / sum(shares) for number in shares]
    return seen


def rate(provider: Provider, start: float, end: float) -> float:
    """Return the accepted requests per second in a span of time."""
    return sum(start <= at < end for at in provider.accepted) / (end - start)


def main() -> None:
    """Print the table of docs/models.md, which explains the columns."""
    print("| scenario | refused | used | s | refused (AIMD) | used (AIMD) | s (AIMD) |")
    print("|---|---|---|---|---|---|---|")
    for scenario in scenarios():
        cells = []
        for how in ("product", "aimd"):
            seen = play(scenario, how)
            back = "" if "back" not in seen else "never" if seen["back"] is None else str(seen["back"])
            used = f"{100 * seen['used']:.0f} %" if "used" in seen else ""
            cells += [
                f"{100 * seen['refused']:.1f} %",
                used + (" (" + ", ".join(f"{100 * share:.0f} %" for share in seen["shares"]) + ")" if "shares" in seen else ""),
                back,
            ]
        print(f"| {scenario.name} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main()
