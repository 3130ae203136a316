"""HTTP/1.1 for uvicorn, as little of it as the SDKs speak: h11 takes more time for a call than all the rest of the stub."""

import asyncio
import http
from typing import Any
from urllib.parse import unquote

from uvicorn.config import Config
from uvicorn.server import ServerState

STATUS_LINES = {status.value: f"HTTP/1.1 {status.value} {status.phrase}\r\n".encode() for status in http.HTTPStatus}
LENGTH_REQUIRED = b"HTTP/1.1 411 Length Required\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"


class Protocol(asyncio.Protocol):
    """One connection: requests one after another, each with a `content-length` or without a body."""

    def __init__(self, config: Config, server_state: ServerState, app_state: dict[str, Any], _loop: asyncio.AbstractEventLoop | None = None) -> None:
        if not config.loaded:
            config.load()
        self.app, self.state = config.loaded_app, server_state
        self.transport: Any = None
        self.buffer = bytearray()
        self.scope: dict[str, Any] | None = None
        self.missing = 0
        self.body: bytes | None = None
        self.head = b""
        self.task: asyncio.Task[None] | None = None
        self.closed = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take note of the connection."""
        self.transport = transport
        self.state.connections.add(self)  # ty: ignore[invalid-argument-type]  uvicorn only calls `shutdown`

    def connection_lost(self, exc: Exception | None) -> None:
        """Tell a call in service that its client is gone."""
        self.state.connections.discard(self)
        self.closed.set()

    def shutdown(self) -> None:
        """Close the connection, as the server ends."""
        self.transport.close()

    def data_received(self, data: bytes) -> None:
        """Collect bytes until a request is whole."""
        self.buffer += data
        if self.task is None:
            self.next_request()

    def next_request(self) -> None:
        """Start on a request if a whole one is there."""
        if self.scope is None:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            self.read_head(bytes(self.buffer[:end]))
            del self.buffer[: end + 4]
        if self.scope is None or len(self.buffer) < self.missing:
            return
        self.body = bytes(self.buffer[: self.missing])
        del self.buffer[: self.missing]
        self.task = asyncio.get_running_loop().create_task(self.run(self.scope))
        self.state.tasks.add(self.task)

    def read_head(self, head: bytes) -> None:
        """Read request line and headers.

        Args:
            head: without the empty line that ends it.
        """
        first, *lines = head.split(b"\r\n")
        headers = [(name.lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
        by_name = dict(headers)
        if b"transfer-encoding" in by_name:
            self.transport.write(LENGTH_REQUIRED)
            self.transport.close()
            return
        self.missing = int(by_name.get(b"content-length", 0))
        method, target, _ = first.split(b" ", 2)
        path, _, query = target.partition(b"?")
        self.scope = {
            "type": "http",
            "method": method.decode(),
            "path": unquote(path.decode()),
            "query_string": query,
            "headers": headers,
            "extensions": {"stub.transport": self.transport},
        }

    async def run(self, scope: dict[str, Any]) -> None:
        """Let the application answer, then handle the next request."""
        task = self.task
        try:
            await self.app(scope, self.receive, self.send)  # ty: ignore[invalid-argument-type]
        except BaseException:
            self.transport.close()
            raise
        finally:
            if task:
                self.state.tasks.discard(task)
            self.task = self.scope = None
        if not self.transport.is_closing():
            self.next_request()

    async def receive(self) -> dict[str, Any]:
        """Give the body; the second time, wait until the client is gone."""
        if self.body is None:
            await self.closed.wait()
            return {"type": "http.disconnect"}
        body, self.body = self.body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(self, message: dict[str, Any]) -> None:
        """Write the head together with the body."""
        if message["type"] == "http.response.start":
            lines = [STATUS_LINES.get(message["status"]) or f"HTTP/1.1 {message['status']} -\r\n".encode()]
            lines += [b"%b: %b\r\n" % header for header in message["headers"]]
            self.head = b"".join(lines) + b"\r\n"
        elif not self.transport.is_closing():
            without_body = self.scope is not None and self.scope["method"] == "HEAD"
            self.transport.write(self.head + (b"" if without_body else message["body"]))
