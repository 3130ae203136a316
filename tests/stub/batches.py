"""What the three batch interfaces share: a batch holds requests of live calls, and each is answered by the code that answers the live call."""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from re import Pattern
from typing import Any, Literal

from tests.stub.faults import REFUSING, error_of
from tests.stub.service import JSON, Gone, Reply, Service, check_key, left, spoiled
from tests.stub.wire import ApiError, Json, Request, Wire

Outcome = Literal["processing", "succeeded", "errored", "expired", "canceled"]
JSONL = "application/x-jsonl"
LONGEST_LOOK_S = 1.0
"""A look at a batch whose requests are just being answered waits at most this long, then finds it unfinished."""
FOREIGN = "not-yours"
"""The name of the one request that another person's batch holds."""


@dataclass(slots=True)
class Item:
    """A request of a batch and its outcome."""

    label: str
    """By which the client finds its answer: the custom id, or Google's key."""
    request: Request
    """The live call."""
    outcome: Outcome = "processing"
    status: int = 0
    body: Json = field(default_factory=dict)
    """The answer, or the error in the provider's shape."""


@dataclass(slots=True)
class Batch:
    """A batch that exists."""

    id: str
    wire: Wire
    """The protocol of its requests."""
    items: list[Item]
    facts: Json
    """What else its interface shows of it."""
    fate: Json | None = None
    """The fault that its creation met, if that decides what becomes of the batch."""
    problems: list[Json] = field(default_factory=list)
    """For which it fails before any request is answered."""
    made: float = field(default_factory=time.time)
    polls: int = 0
    """How often it was retrieved before it had ended."""
    cancelled: float | None = None
    ended: float | None = None
    at_work: "asyncio.Task[None] | None" = None

    def count(self, *outcomes: Outcome) -> int:
        """Count the requests that ended in one of these ways."""
        return sum(item.outcome in outcomes for item in self.items)


@dataclass(frozen=True, slots=True)
class Route:
    """An operation of a batch interface."""

    method: str
    pattern: Pattern[str]
    operation: str
    serve: "Callable[[Desk, Request, str, Json | None], Awaitable[Json | bytes]]"
    """Takes the desk, the request, the name in the path and a fate for a batch to be made; returns JSON data or the bytes of a file."""
    wire: Wire
    """Whose key and whose shape of errors it uses."""


class Desk:
    """All batches and files since the last reset, and what is done with them."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.reset()

    def reset(self) -> None:
        """Remove all batches and files."""
        self.batches: dict[str, Batch] = {}
        self.others: dict[str, list[Batch]] = {}
        self.files: dict[str, Json] = {}

    def number(self) -> str:
        """Return a part of an identity that no other thing has."""
        self.service.number += 1
        return f"{self.service.number:024x}"

    async def handle(self, route: Route, request: Request, name: str, gone: Gone) -> Reply:
        """Carry out an operation and answer in the shape of its protocol.

        Args:
            route: the operation.
            request: as it came.
            name: of the batch or file in the path; empty if none.
            gone: waits until the client has closed the connection.
        """
        wire, service, identity = route.wire, self.service, self.number()
        entry = service.books.operated(f"{wire.account}.batches", route.operation, name)
        try:
            check_key(wire, request, service.settings)
            rule = service.faults.pick(wire.account, "", request.body, time.monotonic(), route.operation)
            fault = rule.fault if rule else None
            if rule and fault:
                rule.left -= 1
                if fault["kind"] in REFUSING:
                    raise error_of(fault) if fault["kind"] == "error" else wire.refuse(fault["kind"], model="", unit="requests", tokens=0, limit=0)
            made = await route.serve(self, request, name, fault)
            entry["batch"] = made.get("id") or made.get("name") or name if isinstance(made, dict) else name
            reply = Reply(200, made, JSONL) if isinstance(made, bytes) else Reply(200, json.dumps(made).encode(), JSON)
            if fault:
                reply = await _met(reply, fault, gone)
        except ApiError as problem:
            reply = Reply(problem.status, json.dumps(wire.error(problem, identity)).encode(), headers=dict(problem.headers))
        reply.headers[wire.id_header] = f"req_{identity}"
        entry["status"] = reply.status if reply.sent == 1 else 0
        return reply

    def check_size(self, count: int, size: int, most: int, most_bytes: int) -> bool:
        """Say whether a batch is within a provider's limits, or those of the settings.

        Args:
            count: of its requests.
            size: in bytes.
            most: requests.
            most_bytes: of all.
        """
        settings = self.service.settings
        return count <= (settings.batch_most or most) and size <= (settings.batch_most_bytes or most_bytes)

    def add(self, batch: Batch) -> Batch:
        """Keep a new batch."""
        self.batches[batch.id] = batch
        return batch

    def find(self, account: str, name: str) -> Batch | None:
        """Return a batch by its id, another person's too.

        Args:
            account: of the provider.
            name: the id.
        """
        found = self.batches.get(name) or next((batch for batch in self.others.get(account, ()) if batch.id == name), None)
        return found if found and found.wire.account == account else None

    async def look(self, batch: Batch, polls: bool) -> None:
        """Let a batch get as far as it is by now.

        Args:
            polls: whether this look counts as a retrieval.
        """
        if batch.ended:
            return
        settings = self.service.settings
        due = batch.polls >= settings.batch_polls and time.time() - batch.made >= settings.batch_s
        batch.polls += polls
        if batch.problems:
            batch.ended = time.time()
        elif due or batch.cancelled:
            if batch.at_work is None:
                batch.at_work = asyncio.get_running_loop().create_task(self._answer(batch))
            await asyncio.wait({batch.at_work}, timeout=LONGEST_LOOK_S)

    async def _answer(self, batch: Batch) -> None:
        """Answer all requests of a batch that are not lost."""
        for item, lost in zip(batch.items, _fates(batch), strict=True):
            if lost == "processing":
                await self._answer_one(batch, item)
            elif lost == "errored":
                _fail(batch, item, ApiError(500, "Internal server error"), self.number())
            else:
                item.outcome = lost
        batch.ended = time.time()

    async def _answer_one(self, batch: Batch, item: Item) -> None:
        reply = await self.service.handle(batch.wire, item.request, _at_once, {"batch": batch.id, "custom_id": item.label})
        try:
            body = json.loads(reply.body) if reply.sent == 1 and reply.kind == JSON else None
        except ValueError:
            body = None
        if body is None:  # a fault that breaks a connection breaks no more than an answer here
            _fail(batch, item, ApiError(500, "Internal server error"), self.number())
        else:
            item.outcome, item.status, item.body = "succeeded" if reply.status == 200 else "errored", reply.status, body

    def listed(self, account: str, wire: Wire, prefix: str, facts: Json) -> list[Batch]:
        """Return all batches of an account, the newest first; other people's, of which the settings say how many, are before and after one's own.

        Args:
            account: of the provider.
            wire: of other people's requests.
            prefix: of their ids.
            facts: of their batches.
        """
        others = self.others.setdefault(account, [])
        while len(others) < self.service.settings.batch_others:
            item = Item(FOREIGN, Request("POST", "", "", {}, b""), "canceled")
            others.append(Batch(f"{prefix}{len(others) + 0xF000_0000:024x}", wire, [item], facts, cancelled=time.time(), ended=time.time()))
        own = [batch for batch in self.batches.values() if batch.wire.account == account][::-1]
        half = len(others) // 2
        return [*others[:half], *own, *others[half:]]

    def in_order(self, batch: Batch) -> list[Item]:
        """Return a batch's requests in the order of its results."""
        return batch.items[::-1] if self.service.settings.batch_reversed else batch.items

    def shown(self) -> list[Json]:
        """Return the outcome of each batch, in order of creation."""
        return [
            {"id": batch.id, "protocol": batch.wire.name, "ended": batch.ended is not None, "requests": {item.label: item.outcome for item in batch.items}}
            for batch in self.batches.values()
        ]


def page(batches: Sequence[Batch], after: str | None, before: str | None, limit: int) -> tuple[list[Batch], bool]:
    """Return a page of a list and whether there is more beyond it.

    Args:
        batches: all.
        after: id of the last one of the page before.
        before: id of the first one of the page behind.
        limit: how many.
    """
    ids = [batch.id for batch in batches]
    if before in ids:
        rest = batches[: ids.index(before)]
        return list(rest[-limit:]), len(rest) > limit
    rest = batches[ids.index(after) + 1 :] if after in ids else batches
    return list(rest[:limit]), len(rest) > limit


def request_for(path: str, request: Request, body: Json) -> Request:
    """Return the live call that a request of a batch stands for.

    Args:
        path: of the live call.
        request: the creation, whose headers it takes.
        body: of the live call.
    """
    return Request("POST", path, "", request.headers, json.dumps(body).encode())


def object_in(body: bytes, wire: Wire) -> Json:
    """Read the body of an operation; what is no JSON object is refused."""
    try:
        value = json.loads(body or b"{}")
    except ValueError as problem:
        raise wire.refuse("not_json", problem=problem) from None
    if not isinstance(value, dict):
        raise wire.refuse("not_json", problem="it is not an object")
    return value


def _fates(batch: Batch) -> list[Outcome]:
    """Return what becomes of each request before it is answered; `processing` if nothing does."""
    size = len(batch.items)
    if batch.cancelled:
        return ["canceled"] * size
    fates: list[Outcome] = ["processing"] * size
    fate = batch.fate if batch.fate and batch.fate["kind"] == "lost" else {}
    expired, errored = (round(fate.get(share, 0.0) * size) for share in ("expired", "errored"))
    drawn = Random(len(batch.items)).sample(range(size), min(size, expired + errored))
    for place, index in enumerate(drawn):
        fates[index] = "expired" if place < expired else "errored"
    return fates


def _fail(batch: Batch, item: Item, problem: ApiError, identity: str) -> None:
    item.outcome, item.status, item.body = "errored", problem.status, batch.wire.error(problem, identity)


async def _met(reply: Reply, fault: Json, gone: Gone) -> Reply:
    """Return an operation's reply as a fault leaves it; what the operation did stays done."""
    if fault["kind"] == "hang" and await left(gone, fault.get("seconds", 3600)):
        return Reply(200, sent=-1.0)
    if fault["kind"] == "truncate":
        return Reply(reply.status, reply.body[: len(reply.body) // 2], reply.kind)
    return spoiled(reply, fault)


async def _at_once() -> Any:
    """Stand for a client that does not wait: no call of a batch has one."""
