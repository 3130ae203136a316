"""Compares the generation flow, with one Prefect task per conversation, with bare loops of the SDK: the part `prefect` of bench/llm.py."""

import asyncio
import heapq
import json
import os
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import anthropic
from pydantic import SecretStr

from blocks.anthropic import CACHED, Anthropic, _messages
from blocks.connections import http_client
from core.llm.chat import ChatModel, ChatRequest, Reply
from core.packs.pack import load_pack
from core.records import Persona
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_batch
from core.rehearsal.turns import Cast, Player
from core.settings.pipeline import load_settings
from tests.stub.client import Stub

CHECKOUT = Path(__file__).resolve().parents[1]
AT_ONCE, LATENCY = 50, 0.2
MODEL = "claude-haiku-5-5"


async def prefect(stub: Stub, folder: str) -> None:
    """Run the flow and the loops, and print the ratio of their times."""
    conversations, exchanges = 300, (6, 14)
    stub.set(latency_s=0, send_limit_headers=True, log_bodies=False)
    client = Anthropic(model=MODEL, api_key=SecretStr("good"), base_url=stub.url).get_client()
    chains = await recorded(client, conversations, exchanges)
    slots, sdk = asyncio.Semaphore(AT_ONCE), anthropic.AsyncAnthropic(api_key="good", base_url=stub.url, max_retries=0, http_client=http_client())

    async def chain(requests: list[dict[str, Any]]) -> None:
        async with slots:
            for request in requests:
                await sdk.messages.create(**request)

    stub.set(latency_s=LATENCY)
    started, cpu = time.perf_counter(), time.process_time()
    await asyncio.gather(*(chain(requests) for requests in chains))
    wall, cpu = time.perf_counter() - started, time.process_time() - cpu
    settings = Path(folder) / "settings.yaml"
    content = {
        "extends": str(CHECKOUT / "config/pipeline.yaml"),
        "roles": {"user_simulator": f"anthropic/{MODEL}", "assistant": f"anthropic/{MODEL}"},
        "models": {"anthropic": {"concurrency": AT_ONCE, "options": {"base_url": stub.url}}},
        "generation": {"exchanges": exchanges, "minimum_exchanges": 14, "concurrency": AT_ONCE, "guards": []},  # the loops check nothing
    }
    settings.write_text(json.dumps(content), encoding="utf-8")
    stub.reset()
    environment = {
        **os.environ,
        "UNDERSTUDY_DATA": folder,
        "PREFECT_HOME": f"{folder}/prefect",
        "ANTHROPIC_API_KEY": "good",
        "UNDERSTUDY_TRUST_SETTINGS": folder,
    }
    command = [sys.executable, "-m", "flows.terminal", "generate", f"--count={conversations}", f"--settings={settings}"]
    process = await asyncio.create_subprocess_exec(*command, cwd=CHECKOUT, env=environment, stdout=asyncio.subprocess.DEVNULL)
    if code := await process.wait():
        sys.exit(f"{' '.join(command)} ended with exit code {code}.")
    (stats,) = stub.stats().values()
    span = stats["last"] - stats["first"] + LATENCY
    print(f"\nPrefect: {conversations} conversations of {exchanges[0]} to {exchanges[1]} exchanges, {AT_ONCE} at once")
    sent = sum(map(len, chains))
    print(f"  {stats['ok']} calls of the flow in {span:.1f} s; the same {sent} requests in bare loops {wall:.1f} s; ratio {wall / span:.3f}")
    print(f"  CPU of a bare call {1000 * cpu / sent:.2f} ms; without any CPU it would take {floor(map(len, chains)):.1f} s")


async def recorded(client: ChatModel, conversations: int, exchanges: tuple[int, int]) -> list[list[dict[str, Any]]]:
    """Return each conversation's requests as arguments of the SDK. The server's answers depend only on the request, so the flow sends the same ones."""
    pack, generation = load_pack("therapeutic-coaching"), load_settings().generation

    async def one(persona: Persona) -> list[dict[str, Any]]:
        requests: list[dict[str, Any]] = []

        class Recording:
            reference, caveat = client.reference, None

            async def complete(self, request: ChatRequest) -> Reply:
                system = [{"type": "text", "text": request.system, "cache_control": CACHED}]
                form = {"format": {"type": "json_schema", "schema": dict(request.schema)}} if request.schema else {}
                arguments = {"model": MODEL, "max_tokens": request.max_tokens, "system": system, "messages": _messages(request, CACHED)}
                requests.append(arguments | {"output_config": {"effort": "low", **form}})
                return await client.complete(request)

        player = Player(Recording(), generation.max_tokens, generation.most_tokens, guards=())  # like the flow, so that nothing is asked for twice
        await rehearse(pack, persona, Cast(player, player, pack.instructions("assistant"), exchanges[1]), persona.id)
        return requests

    return await asyncio.gather(*(one(persona) for persona in sample_batch(pack, 0, conversations, exchanges)))


def floor(lengths: Iterable[int]) -> float:
    """Return the minimum seconds for chains of calls of these lengths, AT_ONCE at a time and in order, with nothing but the server's latency."""
    ends = [0.0] * AT_ONCE
    for calls in lengths:
        heapq.heappush(ends, heapq.heappop(ends) + calls * LATENCY)
    return max(ends)
