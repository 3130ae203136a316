"""Steps of every call: the log, faults, the caller, and the headers of every answer."""

import asyncio
import uuid
from collections.abc import Mapping
from contextlib import suppress
from email.utils import formatdate
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tests.hub_stub.control import Control, Fault
from tests.hub_stub.wire import Caller, Json, Refused, authenticate

SIGNED = ("/_storage/", "/_cdn/", "/v1/", "/v2/")
"""Paths that need no token of the Hub."""


class Gate:
    """The outermost layer of the application."""

    def __init__(self, app: ASGIApp, control: Control, callers: Mapping[str, Caller]) -> None:
        self.app, self.control, self.callers = app, control, callers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call, or the start and the end of the server."""
        if scope["type"] == "lifespan":
            await self.app(scope, receive, send)
            return
        # The router must see revisions and paths as they were sent: a/b as one segment is a%2Fb.
        path = scope["path"] = scope["raw_path"].decode("ascii")
        headers = Headers(scope=scope)
        if path.startswith("/_stub/"):
            await self.app(scope, receive, _with_headers(send, headers))
            return
        entry: Json = {
            "method": scope["method"],
            "path": path,
            "query": scope["query_string"].decode(),
            "status": None,
            "received": 0,
            "bytes": 0,
            "user": None,
        }
        self.control.log.append(entry)
        count_in, count_out = _counted(entry, receive, _with_headers(send, headers), head=scope["method"] == "HEAD")
        fault = self.control.pick(scope["method"], path)
        entry["fault"] = fault is not None
        if fault and fault.delay:
            await asyncio.sleep(fault.delay)
        if fault and (fault.loses or fault.status is not None or fault.cut is not None):
            await self._spoil(fault, scope, count_in, count_out, entry)
        else:
            await self._serve(scope, count_in, count_out, entry)

    async def _serve(self, scope: Scope, receive: Receive, send: Send, entry: Json) -> None:
        try:
            header = Headers(scope=scope).get("authorization")
            scope["hub.caller"] = Caller() if scope["path"].startswith(SIGNED) else authenticate(self.callers, header)
        except Refused as refused:
            await _drain(receive)
            await refused.answer()(scope, receive, send)
            return
        entry["user"] = scope["hub.caller"].name
        with suppress(ClientDisconnect):
            await self.app(scope, receive, send)

    async def _spoil(self, fault: Fault, scope: Scope, receive: Receive, send: Send, entry: Json) -> None:
        if fault.cut is not None:
            # A stream may continue long after these bytes.
            enough = asyncio.Event()
            serving, full = asyncio.ensure_future(self._serve(scope, receive, _cut(send, fault.cut, enough), entry)), asyncio.ensure_future(enough.wait())
            await asyncio.wait((serving, full), return_when=asyncio.FIRST_COMPLETED)
            full.cancel()
            serving.cancel()
            await asyncio.wait((serving, full))
            if not serving.cancelled():
                serving.result()
        elif fault.after:
            await self._serve(scope, receive, _lose, entry)
        else:
            await _drain(receive)
        if fault.status is not None:
            await fault.answer()(scope, receive, send)
            return
        transport = scope["extensions"]["stub.transport"]
        transport.close() if fault.cut is not None else transport.abort()
        await _gone(receive)


async def _drain(receive: Receive) -> None:
    while (message := await receive())["type"] == "http.request" and message.get("more_body"):
        pass


async def _gone(receive: Receive) -> None:
    """Wait until the server notices that the connection is closed; otherwise it would send its own answer."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def _lose(_: Message) -> None:
    pass


def _cut(send: Send, size: int, enough: asyncio.Event) -> Send:
    left = size

    async def sent(message: Message) -> None:
        nonlocal left
        if message["type"] == "http.response.start":
            await send(message)
        elif left > 0:
            body = message.get("body", b"")[:left]
            left -= len(body)
            await send({"type": "http.response.body", "body": body, "more_body": True})
        if left <= 0:
            enough.set()

    return sent


def _with_headers(send: Send, asked: Headers) -> Send:
    async def sent(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["date"] = formatdate(usegmt=True)
            headers["x-request-id"] = asked.get("x-amzn-trace-id") or f"Root=1-{uuid.uuid4()}"
        await send(message)

    return sent


def _counted(entry: Json, receive: Receive, send: Send, head: bool) -> tuple[Receive, Send]:
    async def received() -> Message:
        message = await receive()
        entry["received"] += len(message.get("body", b""))
        return message

    async def sent(message: Message) -> None:
        entry["status"] = message.get("status", entry["status"])
        entry["bytes"] += 0 if head else len(message.get("body", b""))
        await send(message)

    return received, sent


def with_transport(app: Any, transport: asyncio.BaseTransport) -> Any:
    """Return an application that can close the connection of a call."""

    async def wrapped(scope: Scope, receive: Receive, send: Send) -> None:
        scope.setdefault("extensions", {})["stub.transport"] = transport
        await app(scope, receive, send)

    return wrapped
