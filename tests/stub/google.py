"""Google's generateContent."""

import json
import re
from collections.abc import Iterable
from typing import Any

from tests.stub.cache import blocks
from tests.stub.limits import State
from tests.stub.settings import Settings
from tests.stub.wire import Answer, ApiError, Call, Json, Request, Usage, Wire

PATH = re.compile(r"/models/([^/:]+):generateContent$")
FIELDS = frozenset(
    [
        "contents",
        "systemInstruction",
        "tools",
        "toolConfig",
        "safetySettings",
        "generationConfig",
        "cachedContent",
        "labels",
        "model",
        "serviceTier",
        "store",
        "continuationToken",
        "automaticContinuation",
    ]
)
CONFIG_FIELDS = frozenset(
    [
        "temperature",
        "topP",
        "topK",
        "candidateCount",
        "maxOutputTokens",
        "stopSequences",
        "responseLogprobs",
        "logprobs",
        "presencePenalty",
        "frequencyPenalty",
        "seed",
        "responseMimeType",
        "responseSchema",
        "responseJsonSchema",
        "responseFormat",
        "responseModalities",
        "mediaResolution",
        "speechConfig",
        "thinkingConfig",
        "imageConfig",
        "enableEnhancedCivicAnswers",
        "audioTranscriptionConfig",
    ]
)
REASONS: dict[str, tuple[int, str, str]] = {
    "no_key": (
        401,
        "UNAUTHENTICATED",
        "Method doesn't allow unregistered callers. Please use API Key or other form of API consumer identity to call this API.",
    ),
    "bad_key": (401, "UNAUTHENTICATED", "API key not valid. Please pass a valid API key."),
    "expired_key": (401, "UNAUTHENTICATED", "API key expired. Please renew the API key."),
    "forbidden": (403, "PERMISSION_DENIED", "The caller does not have permission."),
    "unknown_model": (404, "NOT_FOUND", "models/{model} is not found for API version v1, or is not supported for generateContent."),
    "not_json": (400, "INVALID_ARGUMENT", "Invalid JSON payload received. {problem}"),
    "context": (400, "INVALID_ARGUMENT", "The input token count ({tokens}) exceeds the maximum number of tokens allowed ({limit})."),
    "rate": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details.\nPlease retry in {wait:.6g}s."),
    "concurrency": (429, "RESOURCE_EXHAUSTED", "Resource has been exhausted (e.g. check quota)."),
    "spend_limit": (429, "RESOURCE_EXHAUSTED", "You exceeded your current quota, please check your plan and billing details."),
}
TRUE_STATUS = {"no_key": (403, "PERMISSION_DENIED"), "bad_key": (400, "INVALID_ARGUMENT"), "expired_key": (400, "INVALID_ARGUMENT")}
STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    429: "RESOURCE_EXHAUSTED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
METRICS = {
    "requests": ("generate_content_paid_tier_requests", "GenerateRequestsPerMinutePerProjectPerModel"),
    "tokens": ("generate_content_paid_tier_input_token_count", "GenerateContentInputTokensPerModelPerMinute"),
    "day": ("generate_requests_per_model_per_day", "GenerateRequestsPerDayPerProjectPerModel"),
}
FINISH = {"stop": "STOP", "length": "MAX_TOKENS", "refusal": "SAFETY"}


def read(request: Request, body: Json, _settings: Settings) -> Call:
    """Check a request; return what it asks for."""
    found = PATH.search(request.path)
    model = found[1] if found else ""
    body = {_camel(name): value for name, value in body.items()}
    config = {_camel(name): value for name, value in (body.get("generationConfig") or {}).items()}
    _check(body, config)
    texts = [_text(part) for part in (body.get("systemInstruction") or {}).get("parts", ())]
    texts += [_text(part) for content in body["contents"] for part in content.get("parts") or ()]
    schema = config.get("responseJsonSchema") or config.get("responseSchema")
    root = ("google", model, json.dumps(body.get("tools")), json.dumps(schema))
    return Call(model=model, texts=texts, plan=blocks(root, texts, priced=False), schema=schema, max_tokens=config.get("maxOutputTokens"))


def _camel(name: str) -> str:
    first, *rest = name.split("_")
    return first + "".join(map(str.capitalize, rest))


def _text(part: Json) -> str:
    return part["text"] if isinstance(part.get("text"), str) else json.dumps(part)


def _check(body: Json, config: Json) -> None:
    for names, allowed, where in ((body, FIELDS, ""), (config, CONFIG_FIELDS, " at 'generation_config'")):
        unknown = [name for name in names if name not in allowed]
        if unknown:
            problem = f'Invalid JSON payload received. Unknown name "{unknown[0]}"{where}: Cannot find field.'
            violation = {"field": "generation_config" if where else "", "description": problem}
            raise _bad(problem, [{"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}])
    if not body.get("contents"):
        raise _bad("* GenerateContentRequest.contents: contents is not specified\n")
    for index, content in enumerate(body["contents"]):
        if content.get("role", "user") not in ("user", "model"):
            raise _bad("Please use a valid role: user, model.")
        if not content.get("parts"):
            raise _bad(f"* GenerateContentRequest.contents[{index}].parts: contents.parts must not be empty.\n")
    if (config.get("responseSchema") or config.get("responseJsonSchema")) and config.get("responseMimeType") != "application/json":
        raise _bad("* GenerateContentRequest.generation_config.response_schema: only allowed when response_mime_type is 'application/json'\n")


def _bad(message: str, details: Any = None) -> ApiError:
    return ApiError(400, message, kind="INVALID_ARGUMENT", details=details)


def answer(call: Call, said: Answer, usage: Usage, identity: str) -> Json:
    """Return an answer as a GenerateContentResponse."""
    written = usage.output - usage.thought
    counts = {"promptTokenCount": usage.input, "totalTokenCount": usage.input + usage.output, "serviceTier": "standard"}
    optional = {"cachedContentTokenCount": usage.read, "candidatesTokenCount": written, "thoughtsTokenCount": usage.thought}
    counts |= {name: count for name, count in optional.items() if count}
    whole = {"usageMetadata": counts, "modelVersion": call.model, "responseId": identity}
    if said.finish == "refusal" and said.variant != "candidate":
        return {"promptFeedback": {"blockReason": said.variant if said.variant not in (None, "prompt") else "SAFETY"}, **whole}
    candidate: Json = {"finishReason": said.stop_value or FINISH[said.finish], "index": 0}
    if said.finish != "refusal":
        candidate["content"] = {"role": "model", "parts": [{"text": said.text}]} if said.text else {"role": "model"}
    return {"candidates": [candidate], **whole}


def refuse(reason: str, **facts: object) -> ApiError:
    """Return Google's error for a reason that all providers have."""
    status, kind, message = REASONS[reason]
    if facts.get("key_error") == 400 and reason in TRUE_STATUS:
        status, kind = TRUE_STATUS[reason]
    details: list[Json] = []
    if reason in ("bad_key", "expired_key"):
        details = [{"@type": "type.googleapis.com/google.rpc.ErrorInfo", "reason": "API_KEY_INVALID", "domain": "googleapis.com", "metadata": {}}]
    if reason in ("rate", "spend_limit"):
        metric, quota = METRICS["day" if reason == "spend_limit" else "requests" if facts["unit"] == "requests" else "tokens"]
        violation = {
            "quotaMetric": f"generativelanguage.googleapis.com/{metric}",
            "quotaId": quota,
            "quotaDimensions": {"location": "global", "model": facts["model"]},
            "quotaValue": str(int(float(str(facts.get("limit", 1000))))),
        }
        details = [{"@type": "type.googleapis.com/google.rpc.QuotaFailure", "violations": [violation]}]
    if "wait" in facts or reason == "spend_limit":  # a day's quota comes with a short delay, too
        details.append({"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{float(str(facts.get('wait', 38))):.6g}s"})
    return ApiError(status, message.format(**facts), kind=kind, details=details or None)


def error(problem: ApiError, _identity: str) -> Json:
    """Return an error in Google's format."""
    inner: Json = {"code": problem.status, "message": problem.message, "status": problem.kind or STATUSES.get(problem.status, "UNKNOWN")}
    return {"error": inner | ({"details": problem.details} if problem.details else {})}


def limit_headers(_states: Iterable[State], _now: float) -> dict[str, str]:
    """Return no headers: Google reports its limits only in the body of a 429."""
    return {}


WIRE = Wire("google", "google", "x-goog-api-key", read, answer, refuse, error, limit_headers, "x-goog-request-id")
