"""OpenAI's Chat Completions API, as OpenAI and local servers speak it."""

import time

from tests.stub import openai
from tests.stub.openai import Part, bad, dumped
from tests.stub.settings import Settings
from tests.stub.wire import Answer, ApiError, Call, Json, Request, Usage, Wire

FINISH = {"stop": "stop", "length": "length", "refusal": "stop"}
REFUSAL = "I'm sorry, but I cannot assist with that request."


def read(_request: Request, body: Json, settings: Settings) -> Call:
    """Check a request; return what it asks for."""
    model = body.get("model")
    if not model:
        raise bad("you must provide a model parameter", "model")
    if not body.get("messages"):
        raise bad("Invalid 'messages': empty array. Expected an array with minimum length 1, but got an empty array instead.", "messages", "empty_array")
    if body.get("stream"):
        raise bad("The stub does not stream this protocol.", "stream", "unsupported_value")
    _check_sampling(body, model)
    if settings.strict_alternation:
        _check_alternation(body["messages"])
    parts = _parts(body["messages"])
    openai.check_cache_options(body, parts, model)
    root = ("chat", model, body.get("prompt_cache_key"), dumped(body.get("tools")), dumped(body.get("response_format")), body.get("reasoning_effort"))
    return Call(
        model=model,
        texts=[part.text for part in parts],
        plan=openai.plan(root, parts, body.get("prompt_cache_options") or {}, model, settings),
        schema=_schema(body),
        max_tokens=body.get("max_completion_tokens") or body.get("max_tokens"),
    )


def _check_sampling(body: Json, model: str) -> None:
    if not openai.is_reasoning(model):
        return
    if body.get("max_tokens") is not None:
        message = "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead."
        raise bad(message, "max_tokens", "unsupported_parameter")
    if body.get("temperature", 1) not in (1, None) and body.get("reasoning_effort") != "none":
        message = f"Unsupported value: 'temperature' does not support {body['temperature']} with this model. Only the default (1) value is supported."
        raise bad(message, "temperature", "unsupported_value")


def _check_alternation(messages: list[Json]) -> None:
    roles = [message.get("role") for message in messages]
    if roles[0] in ("system", "developer"):
        roles = roles[1:]
    if any(role != ("user", "assistant")[index % 2] for index, role in enumerate(roles)):
        raise bad("Conversation roles must alternate user/assistant/user/assistant/...", None)


def _parts(messages: list[Json]) -> list[Part]:
    parts: list[Part] = []
    for index, message in enumerate(messages):
        role, content = message.get("role"), message.get("content")
        if role not in ("user", "assistant", "system", "developer", "tool", "function"):
            raise bad(f"Invalid value: '{role}'.", f"messages[{index}].role", "invalid_value")
        ends = role in ("user", "tool")
        if isinstance(content, str) or content is None:
            parts.append(Part(role, content or "", ends=ends))
            continue
        for number, block in enumerate(content):
            text = block["text"] if block.get("type") == "text" else dumped(block)
            parts.append(Part(role, text, block.get("prompt_cache_breakpoint"), ends and number == len(content) - 1))
    return parts


def _schema(body: Json) -> Json | None:
    form = body.get("response_format")
    if not form or form.get("type") == "text":
        return body.get("json_schema")  # llama-server's own field
    if form.get("type") == "json_object":
        return form.get("schema") or {"type": "object", "properties": {}}
    if form.get("type") != "json_schema":
        raise bad(
            f"Invalid value: '{form.get('type')}'. Supported values are: 'json_object', 'json_schema', and 'text'.", "response_format.type", "invalid_value"
        )
    inner = form.get("json_schema")
    if not isinstance(inner, dict) or not isinstance(inner.get("schema"), dict):
        raise bad("Missing required parameter: 'response_format.json_schema'.", "response_format.json_schema", "missing_required_parameter")
    if inner.get("strict"):
        openai.check_strict(inner["schema"], "response_format")
    return inner["schema"]


def answer(call: Call, said: Answer, usage: Usage, identity: str) -> Json:
    """Return an answer as a chat completion."""
    refused = said.finish == "refusal"
    filtered = refused and said.variant == "content_filter"
    message = {"role": "assistant", "content": None if refused else said.text, "refusal": REFUSAL if refused and not filtered else None, "annotations": []}
    finish = said.stop_value or ("content_filter" if filtered else FINISH[said.finish])
    return {
        "id": f"chatcmpl-{identity}",
        "object": "chat.completion",
        "created": int(time.time()),
        "model": call.model,
        "choices": [{"index": 0, "message": message, "logprobs": None, "finish_reason": finish}],
        "usage": {
            "prompt_tokens": usage.input,
            "completion_tokens": usage.output,
            "total_tokens": usage.input + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.read, "cache_write_tokens": usage.written, "audio_tokens": 0},
            "completion_tokens_details": {"reasoning_tokens": usage.thought, "audio_tokens": 0},
        },
        "service_tier": "default",
        "system_fingerprint": None,
    }


def refuse(reason: str, **facts: object) -> ApiError:
    """Return the error for a reason that all providers have; what is no GPT is refused as llama-server does it."""
    if reason != "context":
        return openai.refuse(reason, **facts)
    tokens, limit = facts["tokens"], facts["limit"]
    if openai.version_of(str(facts["model"])) > (0, 0):
        message = (
            f"Input tokens exceed the configured limit of {limit} tokens. Your messages resulted in {tokens} tokens. Please reduce the length of the messages."
        )
        return bad(message, "messages", "context_length_exceeded")
    message = f"request ({tokens} tokens) exceeds the available context size ({limit} tokens), try increasing it"
    return ApiError(400, message, kind="exceed_context_size_error", details={"code": 400, "n_prompt_tokens": tokens, "n_ctx": limit})


WIRE = Wire("chat", "openai", "authorization", read, answer, refuse, openai.error, openai.limit_headers, "x-request-id")
