"""Anthropic's Messages API."""

import json
import math
import time
from collections.abc import Iterable

from tests.stub.anthropic_checks import check
from tests.stub.cache import Plan, chain
from tests.stub.limits import State
from tests.stub.settings import Settings
from tests.stub.wire import Answer, ApiError, Call, Json, Request, Usage, Wire

LOOKBACK = 20
"""Blocks before a breakpoint, itself included, at which an entry is looked for."""
ANSWER_TOOL = "StructuredOutput"
"""Through this tool the Claude Code CLI wants its structured answer."""

REASONS: dict[str, tuple[int, str, str]] = {
    "no_key": (401, "authentication_error", "x-api-key header is required"),
    "bad_key": (401, "authentication_error", "invalid x-api-key"),
    "expired_key": (401, "authentication_error", "API key has expired"),
    "forbidden": (403, "permission_error", "Your API key does not have permission to use the specified resource."),
    "unknown_model": (404, "not_found_error", "model: {model}"),
    "not_json": (400, "invalid_request_error", "The request body is not valid JSON: {problem}"),
    "context": (400, "invalid_request_error", "prompt is too long: {tokens} tokens > {limit} maximum"),
    "rate": (429, "rate_limit_error", "This request would exceed your organization's rate limit of {limit:.0f} {unit} per minute (model: {model})."),
    "concurrency": (429, "rate_limit_error", "Number of concurrent connections has exceeded your rate limit. Please try again later."),
    "spend_limit": (429, "rate_limit_error", "You have reached your specified API usage limits. You will regain access on 2026-12-01 at 00:00 UTC."),
}
KINDS = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    409: "conflict_error",
    413: "request_too_large",
    429: "rate_limit_error",
    504: "timeout_error",
    529: "overloaded_error",
}
STOP_REASONS = {"stop": "end_turn", "length": "max_tokens", "refusal": "refusal"}


def read(request: Request, body: Json, _settings: Settings) -> Call:
    """Check a request; return what it asks for."""
    check(request, body)
    parts, marks = _parts(body)
    points = chain(("anthropic", body["model"], json.dumps(body.get("output_config"))), parts)
    looked_at = sorted({at for mark in marks for at in range(mark, max(-1, mark - LOOKBACK), -1)}, reverse=True)
    plan = Plan([points[at] for at in looked_at], [points[at]._replace(long=ttl == "1h") for at, ttl in sorted(marks.items())])
    tools = body.get("tools") or ()
    tool = next((tool for tool in tools if tool.get("name") == ANSWER_TOOL), None)
    schema = tool["input_schema"] if tool else ((body.get("output_config") or {}).get("format") or {}).get("schema")
    return Call(
        model=body["model"],
        texts=[text for _, text in parts],
        plan=plan,
        schema=schema,
        max_tokens=body["max_tokens"],
        stream=bool(body.get("stream")),
        writes=body["max_tokens"] > 0,
        tool=ANSWER_TOOL if tool else None,
    )


def _parts(body: Json) -> tuple[list[tuple[str, str]], dict[int, str]]:
    """Return role and text of all blocks (those of neighbouring messages of one role run together), and which are marked with which lifetime."""
    parts: list[tuple[str, str]] = []
    marks: dict[int, str] = {}

    def add(role: str, content: str | list[Json]) -> None:
        if isinstance(content, str):
            parts.append((role, content))
            return
        for block in content:
            mark = block.get("cache_control")
            if mark:
                marks[len(parts)] = mark.get("ttl", "5m")
            parts.append(
                (role, block["text"] if block.get("type") == "text" else json.dumps({name: value for name, value in block.items() if name != "cache_control"}))
            )

    add("tool", list(body.get("tools") or ()))
    add("system", body.get("system") or [])
    for message in body["messages"]:
        add(message["role"], message["content"])
    if body.get("cache_control"):
        marks.setdefault(len(parts) - 1, body["cache_control"].get("ttl", "5m"))
    return parts, marks


def answer(call: Call, said: Answer, usage: Usage, identity: str) -> Json:
    """Return an answer as a message."""
    stop = said.stop_value or STOP_REASONS[said.finish]
    content: list[Json] = [{"type": "text", "text": said.text, "citations": None}] if said.text else []
    if call.tool and said.finish == "stop" and said.text.startswith("{"):
        content = [{"type": "tool_use", "id": f"toolu_{identity}", "name": call.tool, "input": json.loads(said.text)}]
        stop = said.stop_value or "tool_use"
    details = {"type": "refusal", "category": said.variant or "general_harms", "explanation": "This request may be harmful."} if stop == "refusal" else None
    return {
        "id": f"msg_{identity}",
        "type": "message",
        "role": "assistant",
        "model": call.model,
        "content": content,
        "stop_reason": stop if call.writes else "max_tokens",
        "stop_sequence": None,
        "stop_details": details,
        "usage": _usage(usage),
    }


def _usage(usage: Usage) -> Json:
    return {
        "input_tokens": usage.fresh,
        "cache_creation_input_tokens": usage.written,
        "cache_read_input_tokens": usage.read,
        "cache_creation": {"ephemeral_5m_input_tokens": usage.written - usage.written_long, "ephemeral_1h_input_tokens": usage.written_long},
        "output_tokens": usage.output,
        "service_tier": "standard",
    }


def refuse(reason: str, **facts: object) -> ApiError:
    """Return Anthropic's error for a reason that all providers have."""
    status, kind, message = REASONS[reason]
    details = {"error_code": "enforced_spend_limit_reached"} if reason == "spend_limit" else None
    headers: Json = {"x-should-retry": "true"} if reason in ("rate", "concurrency") else {}
    if "wait" in facts:
        headers["retry-after"] = math.ceil(float(str(facts["wait"])))
    return ApiError(status, message.format(**facts), kind=kind, details=details, headers=headers)


def error(problem: ApiError, identity: str) -> Json:
    """Return an error in Anthropic's format."""
    inner: Json = {
        "type": problem.kind or KINDS.get(problem.status, "api_error" if problem.status >= 500 else "invalid_request_error"),
        "message": problem.message,
    }
    if problem.details is not None:
        inner["details"] = problem.details
    return {"type": "error", "error": inner, "request_id": f"req_{identity}"}


def limit_headers(states: Iterable[State], now: float) -> dict[str, str]:
    """Return `anthropic-ratelimit-*`, whose resets are points in time."""
    headers = {}
    for state in states:
        name = "anthropic-ratelimit-" + state.name.replace("_", "-")
        reset = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(math.ceil(now + state.full_in)))
        headers |= {f"{name}-limit": f"{state.limit:.0f}", f"{name}-remaining": str(int(state.left)), f"{name}-reset": reset}
    return headers


WIRE = Wire("anthropic", "anthropic", "x-api-key", read, answer, refuse, error, limit_headers, "request-id", cached_input_counts=False, thinks=False)
