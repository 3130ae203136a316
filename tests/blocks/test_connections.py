"""Connections to a provider: as many as there are calls at once, and used again by those that follow."""

import asyncio
from urllib.parse import urlsplit

import psutil

from tests.blocks.conftest import PROVIDERS, ask, make_block

AT_ONCE = 30


async def test_calls_at_once_have_a_connection_each_and_later_ones_use_them_again(provider, stub):
    port = urlsplit(stub.url).port

    def open_ones() -> set[int]:
        found = psutil.Process().net_connections(kind="tcp")
        return {one.laddr.port for one in found if one.raddr and one.raddr.port == port and one.status == psutil.CONN_ESTABLISHED}

    async def call_at_once(calls: int) -> None:
        await asyncio.gather(*(model.complete(ask(item=f"conversation {number}")) for number in range(calls)))

    model, before = make_block(provider, stub.url).get_client(), open_ones()
    await model.complete(ask())
    first = open_ones() - before
    await model.complete(ask())
    assert len(first) == 1
    assert open_ones() - before == first
    stub.set(latency_s=0.5)
    await call_at_once(AT_ONCE)
    assert stub.stats()[PROVIDERS[provider].protocol]["max_in_flight"] == AT_ONCE
    opened = open_ones() - before
    assert len(opened) == AT_ONCE
    await call_at_once(AT_ONCE)
    assert open_ones() - before == opened
