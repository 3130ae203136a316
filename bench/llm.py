"""Compares calls through Understudy's layers with a bare loop over the same SDK, in one run on one machine, and prints ratios.

    python -m bench.llm [speed] [known] [unknown] [prefect] [poisoned] [billed]        (make bench-llm)

Takes 15 minutes for all parts.

The tests' loopback server (tests/stub) stands in for the providers, in a separate process. SDKs and wire protocols are the real ones.
"""

import asyncio
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from typing import Any

os.environ.setdefault("DO_NOT_TRACK", "1")

from pydantic import SecretStr

from bench.flow import AT_ONCE, LATENCY, prefect
from blocks.anthropic import Anthropic
from blocks.google import Google
from blocks.openai import OpenAI
from blocks.openai_compatible import OpenAICompatible
from core.errors import ModelError
from core.llm.calls import Caller
from core.llm.chat import ChatModel, ChatRequest, Message
from core.llm.ledger import Ledger
from core.llm.limiter import Limiter
from core.llm.prices import price_list
from core.packs.pack import load_pack
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_persona
from core.rehearsal.turns import Cast, Player
from core.settings.models import Budget, ModelSettings
from core.settings.pipeline import load_settings
from core.storage.store import Store
from tests.stub.client import Stub, start_stub

SETTINGS = load_settings()
KEY = SecretStr("good")
PROMPT = "Say something about the garden behind the house, as you would to a neighbour. " * 40


def clients(url: str) -> dict[str, ChatModel]:
    return {
        "anthropic": Anthropic(model="claude-haiku-5-5", api_key=KEY, base_url=url).get_client(),
        "openai": OpenAI(model="gpt-6-luna", api_key=KEY, base_url=f"{url}/v1").get_client(),
        "openai-compatible": OpenAICompatible(model="qwen", api_key=KEY, base_url=f"{url}/v1").get_client(),
        "google": Google(model="gemini-3.8-flash", api_key=KEY, base_url=f"{url}/g").get_client(),
    }


def bare(name: str, client: Any) -> Callable[[ChatRequest], Awaitable[object]]:
    """Return a function that calls the same SDK client as a plain script would, without Understudy's layers."""

    async def ask(request: ChatRequest) -> object:
        text = request.messages[0].content
        if name == "anthropic":
            return await client.client.messages.create(model="claude-haiku-5-5", max_tokens=500, messages=[{"role": "user", "content": text}])
        if name == "openai":
            return await client.client.responses.create(model="gpt-6-luna", max_output_tokens=500, input=[{"role": "user", "content": text}], store=False)
        if name == "google":
            return await client.client.models.generate_content(model="gemini-3.8-flash", contents=text, config={"max_output_tokens": 500})
        return await client._client.chat.completions.create(model="qwen", max_tokens=500, messages=[{"role": "user", "content": text}])

    return ask


def ours(model: ChatModel, folder: str, limits: ModelSettings | None = None) -> Caller:
    chosen = limits or ModelSettings(concurrency=AT_ONCE)
    ledger = Ledger(Store(folder), f"bench-{time.monotonic_ns()}", Budget(usd=1000))
    counted = not model.reference.startswith("anthropic")
    prices = price_list(model.reference, SETTINGS.models["anthropic"].price, free=model.reference.startswith("openai-compatible"))
    return Caller(model, Limiter(model.reference, chosen, SETTINGS.calls, counted), SETTINGS.calls, prices, ledger)


def asked(number: int, text: str = PROMPT) -> ChatRequest:
    return ChatRequest("assistant", "", (Message("user", f"{number} {text}"),), 500, number, item=str(number))


async def many(ask: Callable[[ChatRequest], Awaitable[object]], count: int, at_once: int = AT_ONCE, text: str = PROMPT) -> tuple[float, float, int]:
    """Make many calls; return wall seconds, CPU seconds of this process, and the number of failed calls."""
    slots, lost = asyncio.Semaphore(at_once), 0

    async def one(number: int) -> None:
        nonlocal lost
        async with slots:
            try:
                await ask(asked(number, text))
            except ModelError as error:
                lost += 1
                print(f"    lost: {error}")

    wall, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(one(number) for number in range(count)))
    return time.perf_counter() - wall, time.process_time() - cpu, lost


async def speed(stub: Stub, folder: str, count: int = 2000, rounds: int = 3) -> None:
    print(f"\nSpeed: {count} calls, {AT_ONCE} at once, {LATENCY * 1000:.0f} ms each, limits unknown at the start; median of {rounds} rounds")
    for headers in (True, False):
        stub.set(latency_s=LATENCY, send_limit_headers=headers, log_bodies=False)
        for name, client in clients(stub.url).items():
            await many(client.complete, AT_ONCE)  # opens the connections
            results: dict[str, list[tuple[float, float]]] = {"bare": [], "ours": []}
            for _ in range(rounds):
                for kind, ask in (("bare", bare(name, client)), ("ours", ours(client, folder).complete)):
                    wall, cpu, _ = await many(ask, count)
                    results[kind].append((count / wall, 1000 * cpu / count))
            rates = {kind: statistics.median(rate for rate, _ in rows) for kind, rows in results.items()}
            costs = {kind: statistics.median(cost for _, cost in rows) for kind, rows in results.items()}
            print(
                f"  {name:<18} {'limits in headers' if headers else 'no headers':<18} bare {rates['bare']:6.1f}/s  ours {rates['ours']:6.1f}/s  ratio "
                f"{rates['ours'] / rates['bare']:.3f}   CPU bare {costs['bare']:.2f} ms  ours {costs['ours']:.2f} ms  ratio {costs['ours'] / costs['bare']:.2f}"
            )


async def limited(stub: Stub, folder: str, title: str, limits: ModelSettings, headers: bool, **enforced: Any) -> None:
    """Make calls against a limit. `use` is the share of accepted calls in what the limit allows in that time, including a full bucket at the start."""
    count = enforced.pop("count")
    per_minute, burst = enforced[f"{enforced.pop('kind')}_per_minute"], enforced.pop("burst_units")
    unit = enforced.pop("unit")
    skipped = enforced.pop("skip", ())
    for name, client in clients(stub.url).items():
        if name in skipped:
            continue
        stub.set(latency_s=LATENCY, send_limit_headers=headers, log_bodies=False, **enforced)
        stub.reset()
        wall, _, lost = await many(ours(client, folder, limits).complete, count, at_once=200)
        (stats,) = stub.stats().values()
        used = stats["ok"] * unit / (burst + per_minute * (wall - LATENCY) / 60)
        report(f"{title:<34} {name:<18}", wall, used, stats, lost)
    stub.set(requests_per_minute=None, input_tokens_per_minute=None, output_tokens_per_minute=None, tokens_per_minute=None, burst_requests=None, burst=None)


def report(title: str, wall: float, used: float, stats: dict[str, Any], lost: int) -> None:
    refused = stats["status"].get("429", 0)
    print(f"  {title} {wall:5.1f} s  use {100 * used:4.1f} %  429s {refused} of {stats['calls']} ({100 * (refused / stats['calls']):.1f} %)  lost {lost}")


async def known(stub: Stub, folder: str) -> None:
    print("\nA known limit (in the settings); the provider enforces it with a bucket of one second's worth, or of a minute's")
    limits = ModelSettings(concurrency=AT_ONCE, requests_per_minute=1800)
    for burst in (30, 1800):
        rate = {"kind": "requests", "requests_per_minute": 1800, "burst_requests": burst, "burst_units": 0, "unit": 1, "count": 900}
        await limited(stub, folder, f"1,800 requests/min, burst {burst}", limits, False, **rate)
    tokens = -(-(len(PROMPT) + 4) // 4)
    limits = ModelSettings(concurrency=AT_ONCE, input_tokens_per_minute=tokens * 1200)
    rate = {"kind": "input_tokens", "input_tokens_per_minute": tokens * 1200, "burst": 5, "burst_units": 0, "unit": tokens, "count": 600}
    await limited(stub, folder, f"{tokens * 1200:,} input tokens/min", limits, False, **rate, skip=("openai", "openai-compatible"))
    print("A limit that only the response headers state")
    rate = {"kind": "requests", "requests_per_minute": 1800, "burst_requests": 30, "burst_units": 0, "unit": 1, "count": 900}
    await limited(stub, folder, "1,800 requests/min, burst 30", ModelSettings(concurrency=AT_ONCE), True, **rate, skip=("google",))


async def unknown(stub: Stub, folder: str) -> None:
    print("\nAn unknown limit, neither in the settings nor in headers")
    for per_minute, burst, count in ((1800, 30, 300), (1800, 30, 900), (600, 10, 300)):
        rate = {"kind": "requests", "requests_per_minute": per_minute, "burst_requests": burst, "burst_units": burst, "unit": 1, "count": count}
        await limited(stub, folder, f"{per_minute}/min, burst {burst}, {count} calls", ModelSettings(concurrency=AT_ONCE), False, **rate)
    for name, client in clients(stub.url).items():
        stub.set(concurrency=8, latency_s=LATENCY, send_limit_headers=False)
        stub.reset()
        wall, _, lost = await many(ours(client, folder).complete, 600)
        (stats,) = stub.stats().values()
        report(f"{'8 calls at once':<34} {name:<18}", wall, stats["ok"] * LATENCY / 8 / wall, stats, lost)
    stub.set(concurrency=None)


async def poisoned(stub: Stub, folder: str) -> None:
    print("\n20 items, one of which always fails with 500")
    for name, client in clients(stub.url).items():
        stub.set(latency_s=0.05, faults=[{"when": {"contains": "POISON"}, "fault": {"status": 500}}])
        stub.reset()
        caller = ours(client, folder)
        answers = await asyncio.gather(*(caller.complete(asked(n, "POISON" if n == 7 else PROMPT)) for n in range(20)), return_exceptions=True)
        kept = sum(not isinstance(item, BaseException) for item in answers)
        (stats,) = stub.stats().values()
        print(f"  {name:<18} kept {kept} of 20, {stats['calls']} calls; the failed one: {answers[7]}")
    stub.set(faults=[])


async def billed(stub: Stub, folder: str) -> None:
    print("\nInput tokens billed, in tokens at the base price (a cache read 0.1, a write 1.25)")
    pack = load_pack("therapeutic-coaching")
    stub.set(latency_s=0, send_limit_headers=False, log_bodies=False)
    for name, client in clients(stub.url).items():
        if name == "openai-compatible":
            continue
        stub.set(min_prefix_tokens=4096 if name == "google" else 1024)
        stub.reset()
        caller = ours(client, folder)
        player = Player(caller, 2000, 10**6, guards=())  # the stub repeats its answers, which a guard would refuse
        await rehearse(pack, sample_persona(pack, 5, (50, 50)), Cast(player, player, pack.instructions("assistant"), 50), f"bench-{name}")
        print_billing(f"{name}, a rehearsal of 50 exchanges", stub.stats())


def print_billing(title: str, found: dict[str, Any]) -> None:
    (stats,) = found.values()
    sent = stats["tokens"]["input"]
    print(f"  {title:<46} sent {sent:>9,}  billed {stats['billed_input']:>11,.0f}  of uncached {stats['billed_input'] / sent:.3f}")


async def main(chosen: list[str]) -> None:
    parts = {"speed": speed, "known": known, "unknown": unknown, "prefect": prefect, "poisoned": poisoned, "billed": billed}
    with tempfile.TemporaryDirectory() as folder, start_stub() as stub:
        for name in chosen or list(parts):
            await parts[name](stub, folder)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1:]))
