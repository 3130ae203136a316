"""OpenAI's files and batches."""

import json
import re
import time
from email.message import Message
from urllib.parse import parse_qs

from tests.stub import chat, responses
from tests.stub.batches import Batch, Desk, Item, Route, object_in, page, request_for
from tests.stub.wire import ApiError, Json, Request

WIRE = responses.WIRE
ENDPOINTS = {"/v1/responses": responses.WIRE, "/v1/chat/completions": chat.WIRE}
MOST_REQUESTS = 50_000
MOST_BYTES = 200 * 2**20
MOST_METADATA = 16
DAY_S = 86_400
LOST = {
    "expired": ("batch_expired", "This request could not be executed before the completion window expired."),
    "canceled": ("batch_cancelled", "This request was cancelled."),
}
FOREIGN_FACTS: Json = {"endpoint": "/v1/responses", "input_file_id": "file-of-another", "metadata": {"description": "somebody else's"}}


async def upload(desk: Desk, request: Request, _name: str, _fate: Json | None) -> Json:
    """Keep a file of requests."""
    parts = _parts(request)
    if "file" not in parts:
        raise _bad("Missing required parameter: 'file'.", "file", "missing_required_parameter")
    purpose = parts.get("purpose", ("", b""))[1].decode()
    if purpose != "batch":
        raise _bad(f"Invalid value: '{purpose}'. The stub takes files for 'batch' only.", "purpose", "invalid_value")
    name, content = parts["file"]
    return _shown_file(_kept(desk, content, name, "batch"))


def _parts(request: Request) -> dict[str, tuple[str, bytes]]:
    """Return file name and content of each part of a form, by its field."""
    boundary = _header(request.headers.get("content-type", "")).get_param("boundary", "", "content-type")
    found = {}
    for part in request.body.split(f"--{boundary}".encode())[1:-1]:
        head, _, content = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        lines = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        about = _header(next(value for name, value in lines.items() if name.lower() == "content-disposition"))
        found[str(about.get_param("name", "", "content-type"))] = str(about.get_param("filename", "", "content-type")), content.removesuffix(b"\r\n")
    return found


def _header(value: str) -> Message:
    message = Message()
    message["content-type"] = value
    return message


def _kept(desk: Desk, content: bytes, name: str, purpose: str) -> Json:
    file: Json = {"id": f"file-{desk.number()}", "content": content, "filename": name, "purpose": purpose, "created_at": int(time.time())}
    desk.files[file["id"]] = file
    return file


async def about_file(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Return what is known of a file."""
    return _shown_file(_file(desk, name))


async def content(desk: Desk, _request: Request, name: str, _fate: Json | None) -> bytes:
    """Return a file."""
    return _file(desk, name)["content"]


async def delete(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Delete a file."""
    _file(desk, name)
    del desk.files[name]
    return {"id": name, "object": "file", "deleted": True}


async def create(desk: Desk, request: Request, _name: str, fate: Json | None) -> Json:
    """Make a batch; its file is checked at the first look."""
    body = object_in(request.body, WIRE)
    for name in ("input_file_id", "endpoint", "completion_window"):
        if not body.get(name):
            raise _bad(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if body["endpoint"] not in ENDPOINTS:
        raise _bad(f"Invalid value: '{body['endpoint']}'. The stub's values are: {', '.join(map(repr, ENDPOINTS))}.", "endpoint", "invalid_value")
    if body["completion_window"] != "24h":
        raise _bad(f"Invalid value: '{body['completion_window']}'. Value must be '24h'.", "completion_window", "invalid_value")
    metadata = body.get("metadata") or {}
    if len(metadata) > MOST_METADATA or any(len(key) > 64 or not isinstance(value, str) or len(value) > 512 for key, value in metadata.items()):
        raise _bad("Invalid 'metadata': at most 16 pairs of strings, keys up to 64 and values up to 512 characters.", "metadata", "invalid_value")
    file = desk.files.get(body["input_file_id"])
    if file is None or file["purpose"] != "batch":
        raise _bad(f"Invalid 'input_file_id': no file of purpose 'batch' has the id '{body['input_file_id']}'.", "input_file_id", "invalid_file")
    items, problems = _read(desk, request, file["content"], body["endpoint"])
    if fate and fate["kind"] == "fails":
        code = fate.get("code", "token_limit_exceeded")
        problems = [{"code": code, "message": fate.get("message", "Enqueued token limit reached."), "param": None, "line": None}]
    facts: Json = {"endpoint": body["endpoint"], "input_file_id": file["id"], "metadata": body.get("metadata")}
    return _shown(desk, desk.add(Batch(f"batch_{desk.number()}", ENDPOINTS[body["endpoint"]], items, facts, fate, problems)))


def _read(desk: Desk, request: Request, content: bytes, endpoint: str) -> tuple[list[Item], list[Json]]:
    """Return the requests of a file, and its problems, each with the line."""
    items: list[Item] = []
    problems: list[Json] = []
    labels: set[str] = set()
    models: set[str] = set()
    for number, line in enumerate(content.splitlines(), 1):
        try:
            one = _line(line, endpoint, labels, models)
        except ApiError as problem:
            problems.append({"code": problem.code, "message": problem.message, "param": problem.param, "line": number})
            continue
        labels.add(one["custom_id"])
        models.add(str(one["body"].get("model")))
        items.append(Item(one["custom_id"], request_for(endpoint, request, one["body"])))
    if not content.strip():
        problems.append({"code": "empty_file", "message": "The batch input file is empty.", "param": None, "line": None})
    elif not desk.check_size(len(items), len(content), MOST_REQUESTS, MOST_BYTES):
        message = f"The batch input file is larger than the maximum of {MOST_REQUESTS} requests or {MOST_BYTES} bytes."
        problems.append({"code": "batch_too_large", "message": message, "param": None, "line": None})
    return items, problems


def _line(line: bytes, endpoint: str, labels: set[str], models: set[str]) -> Json:
    try:
        one = json.loads(line)
    except ValueError:
        one = None
    if not isinstance(one, dict):
        raise _bad("This line is not parseable as valid JSON.", None, "invalid_json_line")
    for name in ("custom_id", "method", "url", "body"):
        if not one.get(name):
            raise _bad(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if one["custom_id"] in labels:
        raise _bad(f"The custom_id '{one['custom_id']}' for this request is a duplicate of another request.", "custom_id", "duplicate_custom_id")
    if one["method"] != "POST":
        raise _bad("The method for this request is not supported; use 'POST'.", "method", "invalid_method")
    if one["url"] != endpoint:
        raise _bad("The URL provided for this request does not match the batch endpoint.", "url", "mismatched_endpoint")
    if models and str(one["body"].get("model")) not in models:
        raise _bad("The provided model does not match that of the other requests: a batch is for one model.", "body.model", "mismatched_model")
    return one


async def retrieve(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Return a batch."""
    batch = _found(desk, name)
    await desk.look(batch, polls=True)
    return _shown(desk, batch)


async def list_(desk: Desk, request: Request, _name: str, _fate: Json | None) -> Json:
    """Return a page of all batches, newest first."""
    query = {name: values[0] for name, values in parse_qs(request.query).items()}
    limit = int(query.get("limit", 20))
    if not 1 <= limit <= 100:
        raise _bad("Invalid 'limit': expected a value between 1 and 100.", "limit", "invalid_value")
    batches, more = page(desk.listed("openai", WIRE, "batch_", FOREIGN_FACTS), query.get("after"), None, limit)
    for batch in batches:
        await desk.look(batch, polls=False)
    ends = (batches[0].id, batches[-1].id) if batches else (None, None)
    return {"object": "list", "data": [_shown(desk, batch) for batch in batches], "first_id": ends[0], "last_id": ends[1], "has_more": more}


async def cancel(desk: Desk, _request: Request, name: str, _fate: Json | None) -> Json:
    """Cancel a batch; it ends when it is next retrieved."""
    batch = _found(desk, name)
    if batch.ended:
        raise ApiError(409, f"Cannot cancel a batch with status '{_status(desk, batch)}'.", kind="invalid_request_error")
    batch.cancelled = batch.cancelled or time.time()
    return _shown(desk, batch)


def _status(desk: Desk, batch: Batch) -> str:
    if batch.ended:
        lost = "cancelled" if batch.cancelled else "expired" if batch.count("expired") else "completed"
        return "failed" if batch.problems else lost
    if batch.cancelled:
        return "cancelling"
    left = desk.service.settings.batch_polls - batch.polls
    return "validating" if batch.polls == 0 else "finalizing" if left == 0 and batch.polls > 1 else "in_progress"


def _shown(desk: Desk, batch: Batch) -> Json:
    status, made = _status(desk, batch), int(batch.made)
    ended = None if batch.ended is None else int(batch.ended)
    if ended and not batch.problems and "output_file_id" not in batch.facts:
        batch.facts = batch.facts | _results(desk, batch)
    return {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.facts["endpoint"],
        "model": None,
        "errors": {"object": "list", "data": batch.problems} if batch.problems and ended else None,
        "input_file_id": batch.facts["input_file_id"],
        "completion_window": "24h",
        "status": status,
        "output_file_id": batch.facts.get("output_file_id"),
        "error_file_id": batch.facts.get("error_file_id"),
        "created_at": made,
        "in_progress_at": None if status in ("validating", "failed") else made,
        "expires_at": made + DAY_S,
        "finalizing_at": ended if status == "completed" else None,
        "completed_at": ended if status == "completed" else None,
        "failed_at": ended if status == "failed" else None,
        "expired_at": ended if status == "expired" else None,
        "cancelling_at": int(batch.cancelled) if batch.cancelled else None,
        "cancelled_at": ended if status == "cancelled" else None,
        "request_counts": {
            "total": 0 if status in ("validating", "failed") else len(batch.items),
            "completed": batch.count("succeeded"),
            "failed": batch.count("errored", "expired", "canceled"),
        },
        "metadata": batch.facts["metadata"],
    }


def _results(desk: Desk, batch: Batch) -> Json:
    """Keep the answers and the errors in a file each, and return their ids; None where there is nothing to keep."""
    made: Json = {}
    for name, good in (("output", True), ("error", False)):
        lines = [json.dumps(_result(item, desk.number())).encode() + b"\n" for item in desk.in_order(batch) if (item.outcome == "succeeded") == good]
        made[f"{name}_file_id"] = _kept(desk, b"".join(lines), f"{batch.id}_{name}.jsonl", "batch_output")["id"] if lines else None
    return made


def _result(item: Item, number: str) -> Json:
    line: Json = {"id": f"batch_req_{number}", "custom_id": item.label, "response": None, "error": None}
    if item.outcome in LOST:
        code, message = LOST[item.outcome]
        return line | {"error": {"code": code, "message": message}}
    return line | {"response": {"status_code": item.status, "request_id": f"req_{number}", "body": item.body}}


def _shown_file(file: Json) -> Json:
    about = {name: file[name] for name in ("id", "filename", "purpose", "created_at")}
    return about | {"object": "file", "bytes": len(file["content"]), "status": "processed", "expires_at": None, "status_details": None}


def _file(desk: Desk, name: str) -> Json:
    if name not in desk.files:
        raise ApiError(404, f"No such File object: {name}", kind="invalid_request_error", param="id")
    return desk.files[name]


def _found(desk: Desk, name: str) -> Batch:
    batch = desk.find("openai", name)
    if batch is None:
        raise ApiError(404, f"No batch found with id '{name}'.", kind="invalid_request_error")
    return batch


def _bad(message: str, param: str | None, code: str) -> ApiError:
    return ApiError(400, message, kind="invalid_request_error", code=code, param=param)


_FILE, _BATCH = r"^/v1/files/([^/]+)", r"^/v1/batches/([^/]+)"
ROUTES = (
    Route("POST", re.compile(r"^/v1/files$"), "upload", upload, WIRE),
    Route("GET", re.compile(f"{_FILE}$"), "retrieve", about_file, WIRE),
    Route("GET", re.compile(f"{_FILE}/content$"), "results", content, WIRE),
    Route("DELETE", re.compile(f"{_FILE}$"), "delete", delete, WIRE),
    Route("POST", re.compile(r"^/v1/batches$"), "create", create, WIRE),
    Route("GET", re.compile(r"^/v1/batches$"), "list", list_, WIRE),
    Route("GET", re.compile(f"{_BATCH}$"), "retrieve", retrieve, WIRE),
    Route("POST", re.compile(f"{_BATCH}/cancel$"), "cancel", cancel, WIRE),
)
