"""The ASGI application: which path is which protocol, and the stub's own paths."""

import json
import re
from collections.abc import Awaitable, Callable
from typing import Any

from tests.stub import anthropic, anthropic_batches, chat, google, google_batches, openai_batches, responses
from tests.stub.batches import Desk
from tests.stub.cache import tokens_of
from tests.stub.service import JSON, Reply, Service
from tests.stub.settings import Settings
from tests.stub.wire import Json, Request, Wire

Receive = Callable[[], Awaitable[Json]]
Send = Callable[[Json], Awaitable[None]]

WIRES = {"/v1/messages": anthropic.WIRE, "/v1/responses": responses.WIRE, "/v1/chat/completions": chat.WIRE}
ROUTES = (*anthropic_batches.ROUTES, *openai_batches.ROUTES, *google_batches.ROUTES)


def make_app(settings: Settings) -> Callable[[Json, Receive, Send], Awaitable[None]]:
    """Return the application.

    Args:
        settings: to begin with.
    """
    service = Service(settings)
    desk = Desk(service)

    async def app(scope: Json, receive: Receive, send: Send) -> None:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        message = await receive()
        request = Request(scope["method"], scope["path"], scope["query_string"].decode(), headers, message["body"])
        wire = _wire(request)
        reply = await service.handle(wire, request, receive) if wire else await _batched(desk, request, receive) or _other(service, desk, request)
        await _send(reply, send, scope["extensions"]["stub.transport"])

    return app


def _wire(request: Request) -> Wire | None:
    if request.method != "POST":
        return None
    return WIRES.get(request.path) or (google.WIRE if google.PATH.search(request.path) else None)


async def _batched(desk: Desk, request: Request, receive: Receive) -> Reply | None:
    """Answer an operation on batches; None if the request is none. OpenAI's and Google's paths are alike: the key's header says whose they are."""
    of_google = google.WIRE.key_header in request.headers
    for route in ROUTES:
        asked = route.method == request.method and of_google == (route.wire is google.WIRE)
        found = route.pattern.search(request.path) if asked else None
        if found:
            return await desk.handle(route, request, found[1] if found.re.groups else "", receive)
    return None


async def _send(reply: Reply, send: Send, transport: Any) -> None:
    if reply.sent < 0:
        transport.abort()
        return
    fields = {"content-type": reply.kind, "content-length": str(len(reply.body)), **reply.headers}
    await send(
        {
            "type": "http.response.start",
            "status": reply.status,
            "headers": [(name.encode(), value.encode()) for name, value in fields.items() if value is not None],
        }
    )
    await send({"type": "http.response.body", "body": reply.body[: int(len(reply.body) * reply.sent)]})
    if reply.sent < 1:
        transport.close()


def _other(service: Service, desk: Desk, request: Request) -> Reply:
    """Answer what is no call: the stub's own paths, lists of models, and what the Claude Code CLI touches."""
    match request.method, request.path:
        case "POST", "/stub/settings":
            return _change(service, request)
        case "POST", "/stub/reset":
            service.reset()
            desk.reset()
            return _json({"reset": True})
        case "GET", "/stub/settings":
            return _json({name: getattr(service.settings, name) for name in service.settings.__slots__})
        case "GET", "/stub/stats":
            return _json(service.books.shown())
        case "GET", "/stub/log":
            return _json(service.books.log)
        case "GET", "/stub/batches":
            return _json(desk.shown())
        case "GET", "/v1/models":
            return _json(_models(service.settings))
        case "POST", "/v1/messages/count_tokens":
            return _json({"input_tokens": tokens_of(request.body.decode())})
        case (("GET" | "HEAD"), ("/" | "/health")):
            return _json({"status": "ok"})
    return _json({"error": {"message": f"The stub has no {request.method} {request.path}", "type": "not_found_error"}}, 404)


def _change(service: Service, request: Request) -> Reply:
    try:
        service.change(json.loads(request.body or b"{}"))
    except (ValueError, TypeError, KeyError, re.error) as problem:
        return _json({"error": {"message": str(problem), "type": "settings"}}, 400)
    return _json({"changed": True})


def _models(settings: Settings) -> Json:
    """Return the list of models in a shape that suits OpenAI's and Anthropic's clients alike."""
    rows = [
        {"id": name, "object": "model", "created": 0, "owned_by": "stub", "type": "model", "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in settings.models
    ]
    return {"object": "list", "data": rows, "has_more": False, "first_id": settings.models[0], "last_id": settings.models[-1]}


def _json(value: Any, status: int = 200) -> Reply:
    return Reply(status, json.dumps(value).encode(), JSON)
