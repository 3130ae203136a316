"""What Anthropic refuses before a model sees it."""

from tests.stub.wire import ApiError, Json, Request, objects_in

FIELDS = frozenset(
    [
        "model",
        "messages",
        "max_tokens",
        "system",
        "stream",
        "stop_sequences",
        "metadata",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
        "cache_control",
        "service_tier",
        "container",
        "diagnostics",
        "inference_geo",
        "speed",
        "user_profile_id",
        "workspace_id",
    ]
)
SAMPLING = frozenset({"temperature", "top_p", "top_k"})
"""Removed in this version of the API."""
SAMPLING_UNTIL = "2026-10-21"
MESSAGE_FIELDS = frozenset({"role", "content"})
ROLES = ("user", "assistant", "system")
MOST_MARKS = 4
NOT_ENFORCEABLE = ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf", "minLength", "maxLength", "maxItems")


def check(request: Request, body: Json) -> None:
    """Refuse what the Messages API would refuse, as an ApiError that names the field."""
    beta = "beta=true" in request.query or "anthropic-beta" in request.headers
    _check_fields(request, body, beta)
    messages = body["messages"]
    if not isinstance(messages, list) or not messages:
        raise _bad("messages: at least one message is required")
    for index, message in enumerate(messages):
        if not _is_plain(message):
            _check_message(index, message, beta)
    if messages[0]["role"] != "user":
        raise _bad('messages: first message must use the "user" role')
    if messages[-1]["role"] == "assistant":
        raise _bad("This model does not support assistant message prefill. The conversation must end with a user message.")
    if isinstance(body.get("system"), list):
        _check_blocks("system", body["system"])
    _check_marks(body)
    _check_output(body)


def _bad(message: str) -> ApiError:
    return ApiError(400, message, kind="invalid_request_error")


def _check_fields(request: Request, body: Json, beta: bool) -> None:
    for name in ("model", "messages", "max_tokens"):
        if name not in body:
            raise _bad(f"{name}: Field required")
    allowed = FIELDS if request.headers.get("anthropic-version", "") >= SAMPLING_UNTIL else FIELDS | SAMPLING
    unknown = [name for name in body if name not in allowed and not (beta and name not in SAMPLING)]
    if unknown:
        raise _bad(f"{unknown[0]}: Extra inputs are not permitted")
    if not isinstance(body["max_tokens"], int) or isinstance(body["max_tokens"], bool):
        raise _bad("max_tokens: Input should be a valid integer")
    if body["max_tokens"] < 0:
        raise _bad("max_tokens: Input should be greater than or equal to 0")


def _is_plain(message: Json) -> bool:
    """Say at once of the usual message that nothing is wrong with it."""
    return message.keys() == MESSAGE_FIELDS and message["role"] in ROLES and isinstance(message["content"], str) and bool(message["content"].strip())


def _check_message(index: int, message: Json, beta: bool) -> None:
    where = f"messages.{index}"
    if message.keys() != MESSAGE_FIELDS:
        for name in MESSAGE_FIELDS - message.keys():
            raise _bad(f"{where}.{name}: Field required")
        if not beta:  # the Claude Code CLI sets the effort by message
            raise _bad(f"{where}.{min(message.keys() - MESSAGE_FIELDS)}: Extra inputs are not permitted")
    if message["role"] not in ROLES:
        raise _bad(f"{where}.role: Input should be 'user', 'assistant' or 'system'")
    content = message["content"]
    if not content and not (beta and message["role"] == "system"):
        raise _bad(f"{where}: all messages must have non-empty content except for the optional final assistant message")
    if isinstance(content, list):
        _check_blocks(f"{where}.content", content)
    elif isinstance(content, str):
        if not content.strip() and content:
            raise _bad("messages: text content blocks must contain non-whitespace text")
    else:
        raise _bad(f"{where}.content: Input should be a valid string or list")


def _check_blocks(where: str, blocks: list[Json]) -> None:
    for index, block in enumerate(blocks):
        if not isinstance(block, dict) or "type" not in block:
            raise _bad(f"{where}.{index}.type: Field required")
        if block["type"] != "text":
            continue
        if not isinstance(block.get("text"), str):
            raise _bad(f"{where}.{index}.text.text: Field required")
        if not block["text"] and block.get("cache_control"):
            raise _bad(f"{where}.{index}.text: cache_control cannot be set for empty text blocks")
        if not block["text"].strip():
            raise _bad(f"{where.split('.', maxsplit=1)[0]}: text content blocks must {'contain non-whitespace text' if block['text'] else 'be non-empty'}")
        extra = sorted(block.keys() - {"type", "text", "cache_control", "citations"})
        if extra:
            raise _bad(f"{where}.{index}.text.{extra[0]}: Extra inputs are not permitted")


def _check_marks(body: Json) -> None:
    marked = [block for part in ("tools", "system") if isinstance(body.get(part), list) for block in body[part]]
    marked += [block for message in body["messages"] if isinstance(message["content"], list) for block in message["content"]]
    marks = [block["cache_control"] for block in marked if block.get("cache_control")]
    if body.get("cache_control") and not (marked and marked[-1].get("cache_control")):
        marks.append(body["cache_control"])
    if len(marks) > MOST_MARKS:
        raise _bad(f"A maximum of {MOST_MARKS} blocks with cache_control may be provided. Found {len(marks)}.")
    for mark in marks:
        if mark.get("type") != "ephemeral":
            raise _bad("cache_control.type: Input should be 'ephemeral'")
    lifetimes = [mark.get("ttl", "5m") for mark in marks]
    if "5m" in lifetimes and "1h" in lifetimes[lifetimes.index("5m") :]:
        raise _bad(
            "a ttl='1h' cache_control block must not come after a ttl='5m' cache_control block. Blocks are processed in order: `tools`, `system`, `messages`."
        )


def _check_output(body: Json) -> None:
    form = (body.get("output_config") or {}).get("format")
    if form is None:
        return
    if form.get("type") != "json_schema" or not isinstance(form.get("schema"), dict):
        raise _bad("output_config.format.schema: Field required")
    for _, schema in objects_in(form["schema"]):
        kind = schema.get("type")
        if kind == "object" and schema.get("additionalProperties") is not False:
            raise _bad("output_config.format.schema: For 'object' type, 'additionalProperties' must be explicitly set to false")
        refused = [name for name in NOT_ENFORCEABLE if name in schema]
        if refused:
            raise _bad(f"output_config.format.schema: For '{kind}' type, properties {', '.join(refused)} are not supported")
        if schema.get("minItems", 0) > 1:
            raise _bad("output_config.format.schema: For 'array' type, 'minItems' values other than 0 or 1 are not supported")
