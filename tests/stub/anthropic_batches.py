"""Anthropic's Message Batches."""

import json
import re
import time
from urllib.parse import parse_qs

from tests.stub.anthropic import WIRE
from tests.stub.batches import Batch, Desk, Item, Route, object_in, page, request_for
from tests.stub.wire import ApiError, Json, Request

CUSTOM_ID = re.compile(r"[a-zA-Z0-9_-]{1,64}")
MOST_REQUESTS = 100_000
MOST_BYTES = 256 * 2**20
DAY_S = 86_400


async def create(desk: Desk, request: Request, _name: str, fate: Json | None) -> Json:
    """Make a batch; what a request asks for is checked only when it is answered."""
    body = object_in(request.body, WIRE)
    asked = body.get("requests")
    if not isinstance(asked, list) or not asked:
        raise _bad("requests: List should have at least 1 item after validation")
    if not desk.check_size(len(asked), len(request.body), MOST_REQUESTS, MOST_BYTES):
        raise ApiError(413, f"Request exceeds the maximum of {MOST_REQUESTS} requests or {MOST_BYTES} bytes", kind="request_too_large")
    known: set[str] = set()
    for index, one in enumerate(asked):
        _check(index, one, known)
        known.add(one["custom_id"])
    items = [Item(one["custom_id"], request_for("/v1/messages", request, one["params"])) for one in asked]
    batch = Batch(f"msgbatch_{desk.number()}", WIRE, items, {"host": request.headers.get("host", "")}, fate)
    if fate and fate["kind"] == "fails":  # there is no state for that: each request errs
        batch.fate = {"kind": "lost", "errored": 1.0}
    return _shown(desk.add(batch))


def _check(index: int, one: Json, known: set[str]) -> None:
    where = f"requests.{index}"
    for name in ("custom_id", "params"):
        if not isinstance(one, dict) or name not in one:
            raise _bad(f"{where}.{name}: Field required")
    extra = sorted(one.keys() - {"custom_id", "params"})
    if extra:
        raise _bad(f"{where}.{extra[0]}: Extra inputs are not permitted")
    label = one["custom_id"]
    if not isinstance(label, str) or not CUSTOM_ID.fullmatch(label):
        raise _bad(f"{where}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'")
    if label in known:
        raise _bad(f"{where}.custom_id: Duplicate custom_id '{label}'; custom_id must be unique within a batch")
    if not isinstance(one["params"], dict):
        raise _bad(f"{where}.params: Input should be a valid dictionary")


async def retrieve(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Return a batch."""
    batch = _found(desk, name)
    await desk.look(batch, polls=True)
    return _shown(batch)


async def list_(desk: Desk, request: Request, _name: str, _fate: Json | None) -> Json:
    """Return a page of all batches, newest first."""
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    limit = int(query.get("limit", 20))
    if not 1 <= limit <= 1000:
        raise _bad("limit: Input should be between 1 and 1000")
    facts = {"host": request.headers.get("host", "")}
    batches, more = page(desk.listed("anthropic", WIRE, "msgbatch_", facts), query.get("after_id"), query.get("before_id"), limit)
    for batch in batches:
        await desk.look(batch, polls=False)
    ends = (batches[0].id, batches[-1].id) if batches else (None, None)
    return {"data": [_shown(batch) for batch in batches], "has_more": more, "first_id": ends[0], "last_id": ends[1]}


async def cancel(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Cancel a batch; it ends when it is next retrieved."""
    batch = _found(desk, name)
    if batch.ended:
        raise _bad(f"Batch {name} cannot be canceled because it has already ended")
    batch.cancelled = batch.cancelled or time.time()
    return _shown(batch)


async def results(desk: Desk, _request: Request, name: str, _fate: Json | None) -> bytes:
    """Return one line for each request."""
    batch = _found(desk, name)
    if not batch.ended:
        raise _bad(f"Batch {name} has not finished processing")
    return b"".join(json.dumps({"custom_id": item.label, "result": _result(item)}).encode() + b"\n" for item in desk.in_order(batch))


async def delete(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Delete a batch that has ended."""
    if not _found(desk, name).ended:
        raise _bad(f"Batch {name} cannot be deleted while it is processing")
    desk.batches.pop(name, None)
    return {"id": name, "type": "message_batch_deleted"}


def _result(item: Item) -> Json:
    match item.outcome:
        case "succeeded":
            usage = item.body["usage"]
            return {"type": "succeeded", "message": item.body | {"usage": usage | {"service_tier": "batch"} if isinstance(usage, dict) else usage}}
        case "errored":
            return {"type": "errored", "error": item.body}
    return {"type": item.outcome}


def _shown(batch: Batch) -> Json:
    over = batch.ended is not None
    counts = {name: batch.count(name) if over else 0 for name in ("succeeded", "errored", "canceled", "expired")}
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": "ended" if over else "canceling" if batch.cancelled else "in_progress",
        "request_counts": {"processing": 0 if over else len(batch.items), **counts},
        "created_at": _time(batch.made),
        "expires_at": _time(batch.made + DAY_S),
        "ended_at": _time(batch.ended),
        "cancel_initiated_at": _time(batch.cancelled),
        "archived_at": None,
        "results_url": f"http://{batch.facts['host']}/v1/messages/batches/{batch.id}/results" if over else None,
    }


def _time(seconds: float | None) -> str | None:
    return None if seconds is None else time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _found(desk: Desk, name: str) -> Batch:
    batch = desk.find("anthropic", name)
    if batch is None:
        raise ApiError(404, f"Message batch {name} not found", kind="not_found_error")
    return batch


def _bad(message: str) -> ApiError:
    return ApiError(400, message, kind="invalid_request_error")


_ALL, _ONE = r"^/v1/messages/batches", r"^/v1/messages/batches/([^/]+)"
ROUTES = (
    Route("POST", re.compile(f"{_ALL}$"), "create", create, WIRE),
    Route("GET", re.compile(f"{_ALL}$"), "list", list_, WIRE),
    Route("GET", re.compile(f"{_ONE}$"), "retrieve", retrieve, WIRE),
    Route("POST", re.compile(f"{_ONE}/cancel$"), "cancel", cancel, WIRE),
    Route("GET", re.compile(f"{_ONE}/results$"), "results", results, WIRE),
    Route("DELETE", re.compile(f"{_ONE}$"), "delete", delete, WIRE),
)
