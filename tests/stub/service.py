"""One call from request to reply: key, checks, faults, limits, cache, latency, answer."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.stub import answers, sse
from tests.stub.books import Books, Tally
from tests.stub.cache import PrefixCache, tokens_of
from tests.stub.faults import REFUSING, Faults, Rule, error_of
from tests.stub.limits import Limits
from tests.stub.malformed import mutated, raw
from tests.stub.settings import LIMITS, Settings
from tests.stub.wire import Answer, ApiError, Call, Json, Request, Usage, Wire, key_of

JSON = "application/json"
HELD_SECONDS = 0.02
"""Between two looks whether calls are still held."""
UNLIMITED = Settings()
Gone = Callable[[], Awaitable[Any]]
"""Waits until the client has closed the connection."""


@dataclass(slots=True)
class Reply:
    """The reply to a call."""

    status: int
    body: bytes = b""
    kind: str = JSON
    headers: dict[str, str | None] = field(default_factory=dict)
    """None leaves a header out that would be there."""
    sent: float = 1.0
    """The share of the body that is sent before the connection is closed; below zero not even the headers are."""


class Service:
    """The stub's state, and what it does with a call."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.number = 0
        self.reset()

    def reset(self) -> None:
        """Clear the state; keep the settings."""
        self.books, self.cache = Books(), PrefixCache()
        self.limits: dict[tuple[str, str], Limits] = {}
        self.faults = Faults(self.settings.faults, time.monotonic())

    def change(self, values: Json) -> None:
        """Change settings; limits and fault rules are reset if they are among them.

        Args:
            values: by name.
        """
        settings = self.settings.changed(values)
        if "faults" in values:
            self.faults = Faults(settings.faults, time.monotonic())
        if LIMITS & values.keys():
            self.limits = {}
        self.settings = settings

    async def handle(self, wire: Wire, request: Request, gone: Gone, batch: Json | None = None) -> Reply:
        """Answer a call in the shape of its protocol.

        Args:
            wire: the protocol.
            request: as it came.
            gone: waits until the client has closed the connection.
            batch: for the log, if the call is a request of a batch; no limit, no latency and the lower price are for it.
        """
        self.number += 1
        identity = f"{self.number:024x}"
        books = self.books  # another one after a reset
        entry = books.arrived(wire.name, request, self.settings, batch)
        try:
            reply = await self._serve(wire, request, entry, identity, gone)
        except ApiError as problem:
            if self.settings.reject_latency_s and not batch:
                await asyncio.sleep(self.settings.reject_latency_s)
            reply = Reply(problem.status, json.dumps(wire.error(problem, identity)).encode(), headers=dict(problem.headers))
        reply.headers[wire.id_header] = f"req_{identity}"
        books.answered(entry, reply.status if reply.sent == 1 else 0)
        return reply

    async def _serve(self, wire: Wire, request: Request, entry: Json, identity: str, gone: Gone) -> Reply:
        settings, books, now, batched = self.settings, self.books, time.monotonic(), "batch" in entry
        check_key(wire, request, settings)
        call = self._read(wire, request, entry)
        rule = self.faults.pick(wire.name, call.model, request.body, now, "batched" if batched else "live")
        fault = rule.fault if rule else None
        if rule and rule.fault["kind"] in REFUSING:
            rule.left -= 1
            raise _refusal(wire, call, rule, settings)
        use = self.cache.use(call.plan, settings, now)
        limits = Limits(UNLIMITED, now) if batched else self._limits(wire, call, now)
        self._admit(wire, call, limits, call.tokens if wire.cached_input_counts else call.tokens - use.read)
        if rule:
            rule.left -= 1
        tally = books.tallies[entry["protocol"]]
        _enter(tally, limits)
        try:
            draw = answers.draw_for(call.model, call.texts)
            if fault and fault["kind"] == "hang" and await left(gone, fault.get("seconds", 3600)):
                return Reply(200, sent=-1.0)
            await self._wait(draw.random(), batched)
            self.cache.keep(use, settings, time.monotonic())
            thought = min(settings.thought_tokens, call.max_tokens or settings.thought_tokens) if wire.thinks and call.writes else 0
            said, output = _say(call, fault, settings, thought, draw)
            usage = Usage(call.tokens, use.read, use.written, use.written_long, output, thought)
            limits.settle(time.monotonic(), output)
            books.used(entry["protocol"], usage, settings, settings.batch_price if batched else 1.0)
        finally:
            tally.in_flight -= 1
            limits.in_service -= 1
        message = wire.answer(call, said, usage, identity)
        if fault and fault["kind"] == "usage":  # what is billed stays
            message["usage"] = fault.get("value")
        reply = _reply(call, message, fault)
        reply.headers = self._limit_headers(wire, limits) | reply.headers
        return reply

    async def _wait(self, share: float, batched: bool) -> None:
        """Take the time of a live call, of whose jitter a share counts; a batch's requests take none."""
        settings = self.settings
        while self.settings.held and not batched:
            await asyncio.sleep(HELD_SECONDS)
        await asyncio.sleep(0 if batched else settings.latency_s + settings.latency_jitter_s * share)

    def _limits(self, wire: Wire, call: Call, now: float) -> Limits:
        return self.limits.get((wire.account, call.model)) or self.limits.setdefault((wire.account, call.model), Limits(self.settings, now))

    def _read(self, wire: Wire, request: Request, entry: Json) -> Call:
        try:
            body = json.loads(request.body)
            if not isinstance(body, dict):
                raise ValueError("it is not an object")  # noqa: TRY004  to be reported like the other problems
        except ValueError as problem:
            raise wire.refuse("not_json", problem=problem) from None
        if "body" in entry:
            entry["body"] = body
        entry["model"] = body.get("model")
        try:
            call = wire.read(request, body, self.settings)
        except (AttributeError, IndexError, KeyError, TypeError) as problem:  # a shape that no check of ours names
            raise wire.refuse("not_json", problem=repr(problem)) from problem
        entry["model"], entry["asks"] = call.model, hash((call.model, *call.texts))
        if call.model.startswith("unknown"):
            raise wire.refuse("unknown_model", model=call.model)
        if self.settings.context_tokens is not None and call.tokens > self.settings.context_tokens:
            raise wire.refuse("context", model=call.model, tokens=call.tokens, limit=self.settings.context_tokens)
        return call

    def _admit(self, wire: Wire, call: Call, limits: Limits, counted_input: int) -> None:
        settings = self.settings
        if settings.concurrency is not None and limits.in_service >= settings.concurrency:
            problem = wire.refuse("concurrency", model=call.model, wait=settings.retry_after_s or 1.0)
        else:
            exceeded = limits.admit(time.monotonic(), counted_input, call.tokens)
            if exceeded is None:
                return
            unit = exceeded.name.replace("_", " ") if wire.account == "anthropic" else "requests" if exceeded.name == "requests" else "tokens"
            wait = max(1.0, exceeded.wait) if settings.retry_after_s is None else settings.retry_after_s
            problem = wire.refuse("rate", model=call.model, unit=unit, limit=exceeded.limit, wait=wait)
        problem.headers |= self._limit_headers(wire, limits)
        raise problem

    def _limit_headers(self, wire: Wire, limits: Limits) -> dict[str, str]:
        if not limits.meters or not self.settings.send_limit_headers:
            return {}
        return wire.limit_headers(limits.states(time.monotonic()), time.time())


def check_key(wire: Wire, request: Request, settings: Settings) -> None:
    """Refuse a request without a key, or with one whose name says that it is no good."""
    key = key_of(wire, request)
    reason = "no_key" if not key else next((f"{word}_key" for word in ("bad", "expired") if word in key), "forbidden" if "forbidden" in key else None)
    if reason:
        raise wire.refuse(reason, key=f"{key[:3]}***", key_error=settings.google_key_error)


def _refusal(wire: Wire, call: Call, rule: Rule, settings: Settings) -> ApiError:
    fault = rule.fault
    if fault["kind"] != "error":
        return wire.refuse(fault["kind"], model=call.model, unit="requests", tokens=call.tokens, limit=settings.context_tokens or call.tokens - 1)
    problem = error_of(fault)
    if problem.status == 429 and settings.retry_after_s is not None:
        problem.headers.setdefault("retry-after", f"{settings.retry_after_s:g}")
    return problem


def _enter(tally: Tally, limits: Limits) -> None:
    tally.in_flight += 1
    tally.max_in_flight = max(tally.max_in_flight, tally.in_flight)
    limits.in_service += 1


async def left(gone: Gone, seconds: float) -> bool:
    """Wait, and say whether the client left meanwhile.

    Args:
        gone: waits until the client has closed the connection.
        seconds: to wait.
    """
    try:
        await asyncio.wait_for(gone(), seconds)
    except TimeoutError:
        return False
    return True


def _say(call: Call, fault: Json | None, settings: Settings, thought: int, draw: Random) -> tuple[Answer, int]:
    """Return the answer and how many tokens it has, thoughts included."""
    if not call.writes:
        return Answer(""), 0
    room = None if call.max_tokens is None else max(0, call.max_tokens - thought) * 4
    said = Answer(settings.answer_text if settings.answer_text is not None else answers.compose(draw, call.schema, room))
    if fault:
        said = answers.spoilt(said, fault)
    if room is not None and len(said.text) > room:
        said = Answer(said.text[:room], "length")
    output = tokens_of(said.text) + thought if settings.output_tokens is None else settings.output_tokens
    return said, output


def _reply(call: Call, message: Json, fault: Json | None) -> Reply:
    body, kind = (sse.events(message), "text/event-stream; charset=utf-8") if call.stream else (json.dumps(message).encode(), JSON)
    return spoiled(Reply(200, body, kind), fault) if fault else Reply(200, body, kind)


def spoiled(reply: Reply, fault: Json) -> Reply:
    """Return a reply as a fault of the connection or of its bytes leaves it.

    Args:
        reply: the good one.
        fault: its kind, and what that kind needs.
    """
    match fault["kind"]:
        case "drop":
            return Reply(200, sent=-1.0)
        case "drop_mid":
            return Reply(200, reply.body, reply.kind, sent=0.5)
        case "html":
            return Reply(200, b"<!doctype html><title>Sign in</title><p>Please sign in to the network.</p>", "text/html; charset=utf-8")
        case "raw":
            text, headers, status = raw(fault)
            return Reply(status, text, reply.kind, headers, fault.get("sent", 1.0))
        case "mutate":
            return Reply(200, mutated(json.loads(reply.body), fault), reply.kind, fault.get("headers", {}))
        case "not_json":
            return Reply(200, b'{"id": "msg_1", "content": [')
    return reply
