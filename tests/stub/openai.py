"""What OpenAI's two APIs share: errors, limit headers, the cache, the demands on a schema."""

import json
import math
import re
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from tests.stub.cache import Plan, blocks, chain
from tests.stub.limits import State
from tests.stub.settings import Settings
from tests.stub.wire import ApiError, Json, objects_in

REASONS: dict[str, tuple[int, str | None, str | None, str]] = {
    "no_key": (
        401,
        "invalid_request_error",
        None,
        "You didn't provide an API key. You need to provide your API key in an Authorization header using Bearer auth.",
    ),
    "bad_key": (401, "invalid_request_error", "invalid_api_key", "Incorrect API key provided: {key}."),
    "expired_key": (401, "invalid_request_error", "expired_api_key", "Your API key has expired: {key}."),
    "forbidden": (403, "invalid_request_error", "missing_scope", "You have insufficient permissions for this operation. Missing scopes: model.request."),
    "unknown_model": (404, "invalid_request_error", "model_not_found", "The model `{model}` does not exist or you do not have access to it."),
    "not_json": (400, "invalid_request_error", None, "We could not parse the JSON body of your request: {problem}"),
    "context": (
        400,
        "invalid_request_error",
        "context_length_exceeded",
        "Your input exceeds the context window of this model. Please adjust your input and try again.",
    ),
    "rate": (429, "{unit}", "rate_limit_exceeded", "Rate limit reached for {model} on {unit} per min: Limit {limit:.0f}. Please try again in {wait:.3f}s."),
    "concurrency": (429, "requests", "rate_limit_exceeded", "Rate limit reached for {model}: too many concurrent requests."),
    "spend_limit": (429, "insufficient_quota", "insufficient_quota", "You exceeded your current quota, please check your plan and billing details."),
}
BREAKPOINTS_FROM = (5, 6)
"""From this version on the cache matches at breakpoints only, and a write has a price."""
MOST_WRITES = 4
MOST_READS = 80


class Part(NamedTuple):
    """A piece of a prompt."""

    role: str
    text: str
    mark: Json | None = None
    """An explicit cache breakpoint behind it."""
    ends: bool = False
    """Whether a user's or a tool's message ends here: that is where implicit breakpoints are."""


def version_of(model: str) -> tuple[int, int]:
    """Return the numbers in a GPT's name; zeros for any other model."""
    found = re.match(r"gpt-(\d+)(?:\.(\d+))?", model)
    return (int(found[1]), int(found[2] or 0)) if found else (0, 0)


def is_reasoning(model: str) -> bool:
    """Say whether a model takes no sampling parameters."""
    return version_of(model) >= (5, 0)


def plan(root: tuple[Any, ...], parts: Sequence[Part], options: Json, model: str, settings: Settings) -> Plan:
    """Return where the cache is read and written.

    Args:
        root: what else the cache depends on.
        parts: the prompt.
        options: `prompt_cache_options` of the request.
        model: its version decides on the rule, if the settings do not.
        settings: of the stub.
    """
    priced = version_of(model) >= BREAKPOINTS_FROM
    if settings.openai_cache == "blocks" or (settings.openai_cache == "auto" and not priced):
        return blocks(root, [part.text for part in parts], priced)
    points = chain(root, ((part.role, part.text) for part in parts))
    marks = [index for index, part in enumerate(parts) if part.mark]
    ends = [index for index, part in enumerate(parts) if part.ends]
    if options.get("mode") == "explicit":
        reads, writes = marks, marks[-MOST_WRITES:]
    else:
        reads, writes = sorted({*marks, *ends}), sorted({*marks[1 - MOST_WRITES :], *ends[-1:]})
    lifetime = options.get("ttl", "30m")
    kept = [points[index]._replace(long=(parts[index].mark or {}).get("ttl", lifetime) == "12h") for index in writes]
    return Plan([points[index] for index in reads[-MOST_READS:]][::-1], kept)


def bad(message: str, param: str | None, code: str | None = None) -> ApiError:
    """Return OpenAI's refusal of a request.

    Args:
        message: what is wrong.
        param: the field.
        code: of the error.
    """
    return ApiError(400, message, kind="invalid_request_error", code=code, param=param)


def check_strict(schema: Any, param: str) -> None:
    """Refuse a schema that strict mode does not allow.

    Args:
        schema: of the answer.
        param: where it stands in the request.
    """
    for where, inner in objects_in(schema):
        if inner.get("type") != "object" and "properties" not in inner:
            continue
        context = "(" + ", ".join(f"'{name}'" for name in where) + ")"
        if inner.get("additionalProperties") is not False:
            raise _bad_schema(f"In context={context}, 'additionalProperties' is required to be supplied and to be false.", param)
        missing = [name for name in inner.get("properties", {}) if name not in inner.get("required", ())]
        if missing:
            raise _bad_schema(
                f"In context={context}, 'required' is required to be supplied and to be an array including every key in properties. Missing '{missing[0]}'.",
                param,
            )


def _bad_schema(problem: str, param: str) -> ApiError:
    return bad(f"Invalid schema for response_format: {problem}", param, "invalid_json_schema")


def check_cache_options(body: Json, parts: Sequence[Part], model: str) -> None:
    """Refuse cache options that the model does not know.

    Args:
        body: of the request.
        parts: the prompt.
        model: its name.
    """
    options = body.get("prompt_cache_options")
    if version_of(model) < BREAKPOINTS_FROM:
        if options is not None:
            raise bad("Unsupported parameter: 'prompt_cache_options' is not supported with this model.", "prompt_cache_options", "unsupported_parameter")
        if any(part.mark for part in parts):
            raise bad("Unsupported parameter: 'prompt_cache_breakpoint' is not supported with this model.", "prompt_cache_breakpoint", "unsupported_parameter")
    if options and options.get("mode", "implicit") not in ("implicit", "explicit"):
        raise bad(f"Invalid value: '{options['mode']}'. Supported values are: 'implicit' and 'explicit'.", "prompt_cache_options.mode", "invalid_value")
    if options and options.get("ttl", "30m") not in ("30m", "12h"):
        raise bad(f"Invalid value: '{options['ttl']}'. Supported values are: '30m' and '12h'.", "prompt_cache_options.ttl", "invalid_value")
    if any(part.mark and part.mark.get("mode") != "explicit" for part in parts):
        raise bad("Invalid value for 'prompt_cache_breakpoint.mode'. Supported values are: 'explicit'.", "prompt_cache_breakpoint.mode", "invalid_value")


def dumped(value: Any) -> str:
    """Return a value as text to hash; empty for none."""
    return json.dumps(value) if value else ""


def refuse(reason: str, **facts: object) -> ApiError:
    """Return OpenAI's error for a reason that all providers have."""
    status, kind, code, message = REASONS[reason]
    headers: Json = {}
    if "wait" in facts:
        wait = float(str(facts["wait"]))
        headers = {"retry-after": math.ceil(wait), "retry-after-ms": math.ceil(wait * 1000)}
    kind = "requests" if facts.get("unit") == "requests" else "tokens" if kind == "{unit}" else kind
    return ApiError(status, message.format(**facts), kind=kind, code=code, param="input" if reason == "context" else None, headers=headers)


def error(problem: ApiError, _identity: str) -> Json:
    """Return an error in OpenAI's format."""
    kind, code = problem.kind, problem.code
    if kind is None:
        kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    inner: Json = {"message": problem.message, "type": kind, "param": problem.param, "code": code}
    return {"error": inner | (problem.details if isinstance(problem.details, dict) else {})}


def limit_headers(states: Iterable[State], _now: float) -> dict[str, str]:
    """Return `x-ratelimit-*`, whose resets are durations as Go writes them."""
    headers = {}
    for state in states:
        name = "requests" if state.name == "requests" else "tokens"
        headers |= {
            f"x-ratelimit-limit-{name}": f"{state.limit:.0f}",
            f"x-ratelimit-remaining-{name}": str(int(state.left)),
            f"x-ratelimit-reset-{name}": go_duration(state.full_in),
        }
    return headers


def go_duration(seconds: float) -> str:
    """Write a duration as Go does, to the millisecond: `6m0s`, `1.5s`, `60ms`."""
    milliseconds = math.ceil(seconds * 1000)
    if milliseconds < 1000:
        return f"{milliseconds}ms" if milliseconds else "0s"
    minutes, rest = divmod(milliseconds, 60_000)
    hours, minutes = divmod(minutes, 60)
    return (f"{hours}h" if hours else "") + (f"{minutes}m" if hours or minutes else "") + f"{rest / 1000:g}s"
