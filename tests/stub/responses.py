"""OpenAI's Responses API."""

import time

from tests.stub import openai
from tests.stub.openai import Part, bad, dumped
from tests.stub.settings import Settings
from tests.stub.wire import Answer, Call, Json, Request, Usage, Wire

FIELDS = frozenset(
    [
        "access_programs",
        "background",
        "background_options",
        "context_management",
        "conversation",
        "image",
        "include",
        "input",
        "instructions",
        "max_output_tokens",
        "max_tool_calls",
        "metadata",
        "model",
        "moderation",
        "parallel_tool_calls",
        "previous_response_id",
        "prompt",
        "prompt_cache_key",
        "prompt_cache_options",
        "prompt_cache_retention",
        "reasoning",
        "safety_identifier",
        "service_tier",
        "store",
        "stream",
        "stream_options",
        "temperature",
        "text",
        "tool_choice",
        "tools",
        "top_logprobs",
        "top_p",
        "truncation",
        "user",
    ]
)
LEAST_OUTPUT = 16
CONTENT = {"assistant": ("output_text", "refusal"), "user": ("input_text", "input_image", "input_file"), "tool": ()}
REFUSAL = "I'm sorry, but I cannot assist with that request."


def read(_request: Request, body: Json, settings: Settings) -> Call:
    """Check a request; return what it asks for."""
    _check(body)
    model = body["model"]
    parts = [Part("system", body["instructions"])] if body.get("instructions") else []
    parts += [Part("user", body["input"], ends=True)] if isinstance(body["input"], str) else _parts(body["input"])
    openai.check_cache_options(body, parts, model)
    form = (body.get("text") or {}).get("format") or {}
    options = body.get("prompt_cache_options") or {}
    root = ("responses", model, body.get("prompt_cache_key"), dumped(body.get("tools")), dumped(form), (body.get("reasoning") or {}).get("effort"))
    return Call(
        model=model,
        texts=[part.text for part in parts],
        plan=openai.plan(root, parts, options, model, settings),
        schema=form.get("schema"),
        max_tokens=body.get("max_output_tokens"),
        writes=not options.get("prewarm"),
    )


def _check(body: Json) -> None:
    unknown = [name for name in body if name not in FIELDS]
    if unknown:
        raise bad(f"Unknown parameter: '{unknown[0]}'.", unknown[0], "unknown_parameter")
    for name in ("model", "input"):
        if not body.get(name):
            raise bad(f"Missing required parameter: '{name}'.", name, "missing_required_parameter")
    if body.get("stream"):
        raise bad("The stub does not stream this protocol.", "stream", "unsupported_value")
    most = body.get("max_output_tokens")
    if most is not None and most < LEAST_OUTPUT:
        message = f"Invalid 'max_output_tokens': integer below minimum value. Expected a value >= {LEAST_OUTPUT}, but got {most} instead."
        raise bad(message, "max_output_tokens", "integer_below_min_value")
    if openai.is_reasoning(body["model"]) and (body.get("reasoning") or {}).get("effort") != "none":
        for name in ("temperature", "top_p"):
            if body.get(name) is not None:
                raise bad(f"Unsupported parameter: '{name}' is not supported with this model.", name)
    form = (body.get("text") or {}).get("format")
    if form and form.get("type") == "json_schema":
        for name in ("name", "schema"):
            if not form.get(name):
                raise bad(f"Missing required parameter: 'text.format.{name}'.", f"text.format.{name}", "missing_required_parameter")
        if form.get("strict"):
            openai.check_strict(form["schema"], "text.format.schema")


def _parts(items: list[Json]) -> list[Part]:
    parts: list[Part] = []
    for index, item in enumerate(items):
        if item.get("type", "message") != "message":
            parts.append(Part(item["type"], dumped(item), ends=item["type"].endswith("_output")))
            continue
        role, content = item.get("role"), item.get("content")
        if role not in ("user", "assistant", "system", "developer"):
            message = f"Invalid value: '{role}'. Supported values are: 'assistant', 'system', 'developer', and 'user'."
            raise bad(message, f"input[{index}].role", "invalid_value")
        ends = role == "user"
        if isinstance(content, str):
            parts.append(Part(role, content, ends=ends))
            continue
        for number, block in enumerate(content or ()):
            allowed = CONTENT["assistant" if role == "assistant" else "user"]
            where = f"input[{index}].content[{number}]"
            if block.get("type") not in allowed:
                raise bad(f"Invalid value: '{block.get('type')}'. Supported values are: {', '.join(map(repr, allowed))}.", where, "invalid_value")
            mark = block.get("prompt_cache_breakpoint")
            if mark and role == "assistant":
                raise bad(f"Unknown parameter: '{where}.prompt_cache_breakpoint'.", f"{where}.prompt_cache_breakpoint", "unknown_parameter")
            text = block["text"] if "text" in block else dumped(block)
            parts.append(Part(role, text, mark, ends and number == len(content) - 1))
    return parts


def answer(call: Call, said: Answer, usage: Usage, identity: str) -> Json:
    """Return an answer as a response."""
    status, incomplete, failed = "completed", None, None
    content: Json = {"type": "output_text", "text": said.text, "annotations": [], "logprobs": []}
    if said.finish == "refusal" and said.variant == "failed":
        status, failed = "failed", {"code": "invalid_prompt", "message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy."}
    elif said.finish == "refusal" and said.variant == "content_filter":
        status, incomplete = "incomplete", "content_filter"
    elif said.finish == "refusal":
        content = {"type": "refusal", "refusal": REFUSAL}
    elif said.finish == "length" or said.stop_value:
        status, incomplete = "incomplete", said.stop_value or "max_output_tokens"
    output: list[Json] = [{"id": f"rs_{identity}", "type": "reasoning", "summary": []}] if usage.thought else []
    if call.writes and not failed and (said.text or content["type"] == "refusal" or not incomplete):
        part = "incomplete" if status == "incomplete" else "completed"
        output.append({"id": f"msg_{identity}", "type": "message", "role": "assistant", "status": part, "content": [content]})
    return {
        "id": f"resp_{identity}",
        "object": "response",
        "created_at": int(time.time()),
        "status": status,
        "error": failed,
        "incomplete_details": {"reason": incomplete} if incomplete else None,
        "instructions": None,
        "metadata": {},
        "model": call.model,
        "output": output,
        "parallel_tool_calls": True,
        "temperature": 1.0,
        "tool_choice": "auto",
        "tools": [],
        "top_p": 1.0,
        "max_output_tokens": call.max_tokens,
        "service_tier": "default",
        "store": False,
        "usage": {
            "input_tokens": usage.input,
            "input_tokens_details": {"cached_tokens": usage.read, "cache_write_tokens": usage.written},
            "output_tokens": usage.output,
            "output_tokens_details": {"reasoning_tokens": usage.thought},
            "total_tokens": usage.input + usage.output,
        },
    }


WIRE = Wire("responses", "openai", "authorization", read, answer, openai.refuse, openai.error, openai.limit_headers, "x-request-id")
