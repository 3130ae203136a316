"""Google's batches of requests that stand in the creation itself."""

import re
import time
from urllib.parse import parse_qs

from tests.stub.batches import Batch, Desk, Item, Route, object_in, page, request_for
from tests.stub.google import WIRE, refuse
from tests.stub.wire import ApiError, Json, Request

MOST_REQUESTS = 10_000_000
"""None is known: the size decides."""
MOST_BYTES = 20 * 2**20
KIND = "type.googleapis.com/google.ai.generativelanguage.v1main.GenerateContentBatch"
CODES = {400: 3, 401: 16, 403: 7, 404: 5, 409: 10, 429: 8, 500: 13, 503: 14, 504: 4}
"""Within a batch an error has the code of gRPC, not of HTTP."""
LATE = {"code": 4, "message": "The request did not finish before the batch expired."}
FAILED = {"code": 3, "message": "The batch is invalid."}
FOREIGN_FACTS: Json = {"model": "models/gemini-3.8-flash", "display": "somebody else's", "metadata": [None]}


async def create(desk: Desk, request: Request, name: str, fate: Json | None) -> Json:
    """Make a batch; what a request asks for is checked only when it is answered."""
    body = object_in(request.body, WIRE).get("batch") or {}
    if name.startswith("unknown"):
        raise refuse("unknown_model", model=name)
    asked = (((body.get("inputConfig") or {}).get("requests")) or {}).get("requests")
    if not isinstance(asked, list) or not asked or not all(isinstance(one, dict) and isinstance(one.get("request"), dict) for one in asked):
        raise _bad("* BatchGenerateContentRequest.batch.input_config: input_config.requests must not be empty (the stub takes no files)\n")
    if not desk.check_size(len(asked), len(request.body), MOST_REQUESTS, MOST_BYTES):
        raise _bad(f"Request payload size exceeds the limit: {MOST_BYTES} bytes. Please use a file.")
    metadata = [one.get("metadata") for one in asked]
    if not all(one is None or (isinstance(one, dict) and all(isinstance(value, str) for value in one.values())) for one in metadata):
        raise _bad("Invalid value at 'batch.input_config.requests.requests[0].metadata'")
    path = f"/v1beta/models/{name}:generateContent"
    labels = [(one or {}).get("key", str(index)) for index, one in enumerate(metadata)]
    items = [Item(label, request_for(path, request, one["request"])) for label, one in zip(labels, asked, strict=True)]
    facts: Json = {"model": f"models/{name}", "display": body.get("displayName"), "metadata": metadata}
    problems = [FAILED | {part: fate[part] for part in FAILED if part in fate}] if fate and fate["kind"] == "fails" else []
    return _shown(desk, desk.add(Batch(f"batches/{desk.number()}", WIRE, items, facts, fate, problems)))


async def retrieve(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Return a batch."""
    batch = _found(desk, name)
    await desk.look(batch, polls=True)
    return _shown(desk, batch)


async def list_(desk: Desk, request: Request, _name: str, _fate: Json | None) -> Json:
    """Return a page of all batches, newest first."""
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    batches, more = page(desk.listed("google", WIRE, "batches/", FOREIGN_FACTS), query.get("pageToken"), None, int(query.get("pageSize", 50)))
    for batch in batches:
        await desk.look(batch, polls=False)
    return {"operations": [_shown(desk, batch) for batch in batches], **({"nextPageToken": batches[-1].id} if more else {})}


async def cancel(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Cancel a batch; it ends when it is next retrieved."""
    batch = _found(desk, name)
    if batch.ended:
        raise ApiError(400, f"The batch {name} has ended and cannot be cancelled.", kind="FAILED_PRECONDITION")
    batch.cancelled = batch.cancelled or time.time()
    return {}


async def delete(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Delete a batch."""
    desk.batches.pop(_found(desk, name).id, None)
    return {}


def _state(batch: Batch) -> str:
    if not batch.ended:
        return "RUNNING" if batch.polls else "PENDING"
    if batch.problems:
        return "FAILED"
    return "CANCELLED" if batch.cancelled else "EXPIRED" if batch.count("expired") == len(batch.items) else "SUCCEEDED"


def _shown(desk: Desk, batch: Batch) -> Json:
    state, size = _state(batch), len(batch.items)
    stats = {"requestCount": size, "successfulRequestCount": batch.count("succeeded"), "failedRequestCount": batch.count("errored", "expired")}
    stats["pendingRequestCount"] = 0 if batch.ended else size
    metadata: Json = {
        "@type": KIND,
        "name": batch.id,
        "model": batch.facts["model"],
        "createTime": _time(batch.made),
        "updateTime": _time(batch.ended or time.time()),
        "batchStats": {name: str(count) for name, count in stats.items() if count},
        "state": f"BATCH_STATE_{state}",
    }
    metadata |= {"displayName": batch.facts["display"]} if batch.facts["display"] else {}
    operation: Json = {"name": batch.id, "metadata": metadata}
    if not batch.ended:
        return operation
    metadata["endTime"] = _time(batch.ended)
    operation["done"] = True
    if state != "SUCCEEDED":
        error = {"FAILED": batch.problems, "CANCELLED": [{"code": 1, "message": "The batch was cancelled."}], "EXPIRED": [LATE]}[state]
        return operation | {"error": error[0]}
    answers = [_result(item, metadata) for item, metadata in zip(batch.items, batch.facts["metadata"], strict=True)]
    if not desk.service.settings.batch_labels:
        answers = [{name: value for name, value in one.items() if name != "metadata"} for one in answers]
    output = {"inlinedResponses": {"inlinedResponses": answers}}
    metadata["output"] = output
    return operation | {"response": {"@type": f"{KIND}Output", **output}}


def _result(item: Item, metadata: Json | None) -> Json:
    label = {"metadata": metadata} if metadata is not None else {}
    if item.outcome == "succeeded":
        return {"response": item.body, **label}
    problem = LATE if item.outcome == "expired" else {"code": CODES.get(item.status, 2), "message": item.body["error"]["message"]}
    return {"error": problem, **label}


def _time(seconds: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S.000000Z", time.gmtime(seconds))


def _found(desk: Desk, name: str) -> Batch:
    batch = desk.find("google", f"batches/{name}")
    if batch is None:
        raise ApiError(404, f"Requested entity was not found: batches/{name}", kind="NOT_FOUND")
    return batch


def _bad(message: str) -> ApiError:
    return ApiError(400, message, kind="INVALID_ARGUMENT")


_ALL, _ONE = r"/v1(?:beta)?/batches", r"/v1(?:beta)?/batches/([^/:]+)"
ROUTES = (
    Route("POST", re.compile(r"/models/([^/:]+):batchGenerateContent$"), "create", create, WIRE),
    Route("GET", re.compile(f"{_ALL}$"), "list", list_, WIRE),
    Route("GET", re.compile(f"{_ONE}$"), "retrieve", retrieve, WIRE),
    Route("POST", re.compile(f"{_ONE}:cancel$"), "cancel", cancel, WIRE),
    Route("DELETE", re.compile(f"{_ONE}$"), "delete", delete, WIRE),
)
