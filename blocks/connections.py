"""HTTP connections to providers, over aiohttp: the length of answers is bounded, and no data of one server reaches another."""

import asyncio
import io
import time
from collections.abc import AsyncGenerator, AsyncIterator
from contextvars import ContextVar
from ssl import SSLContext
from typing import Any

import aiohttp
import httpx2

from blocks.authorities import tls_context
from blocks.http import BASE_BYTES
from core.errors import MalformedError, SettingsError

CONNECT_SECONDS = 10

NO_LIMIT = 0
"""aiohttp's value for an unlimited number of connections. The rate limiter bounds the concurrent calls (`core/llm/limiter.py`)."""

IDLE_SECONDS = 4
"""Idle time in seconds after which a connection is not reused. Servers close idle connections after five seconds or more."""

QUIET_SECONDS = 0.5
"""Idle time in seconds after which the event loop may not yet have noticed closed connections. Calls in quick succession skip the check, which delays them."""

HEADER_BYTES, HEADERS = 100_000, 1000
"""Maximum bytes of one header and maximum number of headers. Gateways and content policies exceed aiohttp's defaults, 8,190 bytes and 128 headers."""

LARGE_BYTES = 1 << 20
"""Bytes from which a request is passed to aiohttp as a file, so that writing it does not block other calls."""

MAX_BYTES: ContextVar[int] = ContextVar("max_bytes", default=BASE_BYTES)
"""Maximum bytes of the answer to the current call."""


class BoundedClient(httpx2.AsyncClient):
    """A client that reads an answer up to a bound, keeps no cookies and follows no redirects."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request and read its answer.

        Raises:
            MalformedError: the answer is longer than the request allows.
        """
        response = await super().send(request, stream=True, **options)
        if stream:
            return response
        limit, body = MAX_BYTES.get(), bytearray()
        try:
            async for piece in response.aiter_bytes():
                body += piece
                if len(body) > limit:
                    raise MalformedError(f"the answer has more than {limit:,} bytes, the most that this request allows")
        finally:
            await response.aclose()
        response._content = bytes(body)  # as `aread` does
        return response

    def _init_transport(self, *_: Any, **options: Any) -> "_Transport":
        return _Transport(options["verify"])

    def _init_proxy_transport(self, proxy: httpx2.Proxy, *_: Any, **options: Any) -> "_Transport":
        return _Transport(options["verify"], proxy)


def http_client() -> httpx2.AsyncClient:
    """Return a client for many concurrent calls. It has no timeout: `core/llm/calls.py` sets the deadline of each call.

    It asks for uncompressed answers, because a compressed kilobyte can unpack to a megabyte.

    Raises:
        SettingsError: the environment names a proxy that is not a valid address.
    """
    try:
        return BoundedClient(timeout=None, verify=tls_context(), headers={"accept-encoding": "identity"})
    except (ValueError, httpx2.InvalidURL) as wrong:  # its message is left out, because it may repeat a password
        raise SettingsError(
            "HTTP_PROXY, HTTPS_PROXY, ALL_PROXY or NO_PROXY is not a valid proxy address. Allowed: http:// or https:// with a host, as in http://127.0.0.1:3128."
        ) from wrong


class _Transport(httpx2.AsyncBaseTransport):
    """Sends a client's requests. Connections belong to an event loop and close with it, because no other object lives exactly as long."""

    def __init__(self, context: SSLContext, proxy: httpx2.Proxy | None = None) -> None:
        self._context, self._proxy, self._used = context, proxy, 0.0

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        proxy, content = self._proxy, await request.aread()
        if proxy and proxy.url.scheme not in ("http", "https"):
            raise SettingsError(f"The environment names a proxy with the protocol {proxy.url.scheme}, which is not supported. Allowed: http:// or https://.")
        session, quiet = await self._session(), time.monotonic() - self._used
        for _ in range(2 if quiet > QUIET_SECONDS else 0):  # in these rounds the loop notices closed connections, which are then not reused
            await asyncio.sleep(0)
        self._used = time.monotonic()
        answer = await session.request(
            request.method,
            str(request.url),
            headers=request.headers,
            data=io.BytesIO(content) if len(content) > LARGE_BYTES else content or None,
            allow_redirects=False,
            proxy=str(proxy.url) if proxy else None,
            proxy_auth=aiohttp.BasicAuth(*proxy.auth, encoding="utf-8") if proxy and proxy.auth else None,
        )
        headers = [(name, value) for name, value in answer.raw_headers if name.lower() != b"set-cookie"]
        return httpx2.Response(answer.status, headers=headers, stream=_Body(answer), request=request)

    async def _session(self) -> aiohttp.ClientSession:
        place = self, asyncio.get_running_loop()
        if place not in _OPEN:
            _OPEN[place] = self._until_loop_ends(place)
        return await anext(_OPEN[place])

    async def _until_loop_ends(self, place: "_Place") -> AsyncGenerator[aiohttp.ClientSession]:
        session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=NO_LIMIT, keepalive_timeout=IDLE_SECONDS, ssl=self._context),
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            max_line_size=HEADER_BYTES,
            max_field_size=HEADER_BYTES,
            max_headers=HEADERS,
        )
        try:
            while True:
                yield session
        finally:
            del _OPEN[place]
            await session.close()


_Place = tuple[_Transport, asyncio.AbstractEventLoop]

_OPEN: dict[_Place, AsyncGenerator[aiohttp.ClientSession]] = {}
"""The generators that close the connections of a client in a loop. asyncio closes the generators of a loop before the loop itself."""


class _Body(httpx2.AsyncByteStream):
    def __init__(self, answer: aiohttp.ClientResponse) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for piece in self._answer.content.iter_any():
            yield piece

    async def aclose(self) -> None:
        """Close the connection if the answer was not read completely; otherwise the connection is already free for the next call."""
        self._answer.close()
