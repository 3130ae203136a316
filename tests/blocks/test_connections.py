"""Connections to a provider are reused, closed in time and tolerant of real servers."""

import asyncio
import json
import socket
import threading
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from itertools import takewhile
from urllib.parse import urlsplit

import psutil
import pytest

from blocks import connections
from core.errors import ConnectError, OverloadedError, SettingsError
from tests.blocks.conftest import PROVIDERS, ask, failure, make_block

AT_ONCE = 30
COMPLETION = json.dumps(
    {"choices": [{"message": {"content": "Good evening."}, "finish_reason": "stop"}], "usage": {"prompt_tokens": 5, "completion_tokens": 3}}
)


@contextmanager
def server(answer: Callable[[bytes, socket.socket], object]) -> Generator[str]:
    """Serve Chat Completions from threads, as `answer` does with the head of each request and its connection; yield the address."""
    listening = socket.create_server(("127.0.0.1", 0))

    def serve(connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            while head := b"".join(takewhile(lambda line: line.strip(), iter(lines.readline, b""))):
                length = next(int(line.split(b":")[1]) for line in head.splitlines() if line.lower().startswith(b"content-length"))
                lines.read(length)
                if answer(head, connection) == "close":
                    return

    def accept() -> None:
        while True:
            try:
                connection, _ = listening.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    yield f"http://127.0.0.1:{listening.getsockname()[1]}"
    listening.shutdown(socket.SHUT_RDWR)
    listening.close()


def written(status: bytes = b"200 OK", headers: bytes = b"", body: str = COMPLETION) -> bytes:
    """Return an answer as it is sent."""
    return b"HTTP/1.1 %b\r\ncontent-type: application/json\r\ncontent-length: %d\r\n%b\r\n%b" % (status, len(body), headers, body.encode())


async def test_concurrent_calls_have_a_connection_each_and_later_calls_reuse_them(provider, stub):
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


def test_a_model_works_in_successive_event_loops_and_leaves_no_connection(provider, stub):
    model, port = make_block(provider, stub.url).get_client(), urlsplit(stub.url).port
    for _ in range(2):
        assert asyncio.run(model.complete(ask())).text
        assert not [one for one in psutil.Process().net_connections(kind="tcp") if one.raddr and one.raddr.port == port and one.status == "ESTABLISHED"]


async def test_a_connection_closed_while_the_process_was_busy_is_not_reused():
    with server(lambda _, connection: connection.sendall(written()) or "close") as address:
        model = make_block("openai-compatible", address).get_client()
        for _ in range(3):
            assert (await model.complete(ask())).text == "Good evening."
            time.sleep(connections.QUIET_SECONDS + 0.1)  # the loop is blocked meanwhile


@pytest.mark.parametrize(
    "headers",
    [b"content-security-policy: " + b"a" * 20_000 + b"\r\n", b"".join(b"x-gateway-%d: 1\r\n" % number for number in range(300)), b"x-odd: \xff\xfe\r\n"],
    ids=["long", "many", "not ASCII"],
)
async def test_an_answer_is_read_with_any_headers_of_a_gateway(headers):
    with server(lambda _, connection: connection.sendall(written(b"200 \xff\xe9", headers))) as address:
        assert (await make_block("openai-compatible", address).get_client().complete(ask())).text == "Good evening."


async def test_a_status_is_read_with_any_reason_phrase():
    with server(lambda _, connection: connection.sendall(written(b"503 Indispon\xedvel", body="{}"))) as address:
        assert type(await failure(make_block("openai-compatible", address).get_client())) is OverloadedError


async def test_cookies_are_not_sent_back():
    heads: list[bytes] = []

    def answer(head: bytes, connection: socket.socket) -> None:
        heads.append(head.lower())
        connection.sendall(written(headers=b"set-cookie: visitor=1; path=/\r\nset-cookie: \xff=\xfe\r\n"))

    with server(answer) as address:
        model = make_block("openai-compatible", address).get_client()
        for _ in range(2):
            await model.complete(ask())
    assert len(heads) == 2
    assert not any(b"\r\ncookie:" in head for head in heads)


async def test_an_unaccepted_connection_times_out_soon_and_is_not_billed(provider, monkeypatch):
    monkeypatch.setattr(connections, "CONNECT_SECONDS", 0.1)
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        waiting = [socket.socket() for _ in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(full.getsockname())
        error = await failure(make_block(provider, f"http://127.0.0.1:{full.getsockname()[1]}").get_client())
        for one in waiting:
            one.close()
    assert (type(error), error.retryable, error.unbilled) == (ConnectError, True, True)


@pytest.mark.parametrize("proxy", ["socks5://user:hidden-9@127.0.0.1:1", "ftp://user:hidden-9@127.0.0.1:1", "http://[::1"])
async def test_an_unusable_proxy_is_a_settings_error(monkeypatch, stub, proxy):
    monkeypatch.setenv("HTTP_PROXY", proxy)
    with pytest.raises(SettingsError, match="Allowed: http:// or https://") as refused:
        await make_block("openai-compatible", stub.url).get_client().complete(ask())
    assert "hidden" not in str(refused.value)
