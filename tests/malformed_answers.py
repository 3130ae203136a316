"""Answers with the status 200 that are none, or odd ones: parts of a good answer replaced, for each provider's protocol, and bytes that are no answer."""

from typing import Any

Path = tuple[str | int, ...]

PATHS: dict[str, list[Path]] = {
    "anthropic": [
        *[("content",), ("content", 0), ("content", 0, "type"), ("content", 0, "text"), ("stop_reason",), ("stop_details",)],
        *[("usage",), ("usage", "input_tokens"), ("usage", "output_tokens"), ("usage", "cache_read_input_tokens"), ("id",), ("model",)],
    ],
    "openai": [
        *[("output",), ("output", 0), ("output", 0, "type"), ("output", 0, "content"), ("output", 0, "content", 0), ("output", 0, "content", 0, "text")],
        *[("output", 0, "content", 0, "type"), ("status",), ("error",), ("incomplete_details",)],
        *[("usage",), ("usage", "input_tokens"), ("usage", "output_tokens"), ("usage", "input_tokens_details"), ("id",), ("model",)],
    ],
    "openai-compatible": [
        *[("choices",), ("choices", 0), ("choices", 0, "message"), ("choices", 0, "message", "content"), ("choices", 0, "message", "refusal")],
        *[("choices", 0, "finish_reason"), ("choices", 0, "message", "tool_calls")],
        *[("usage",), ("usage", "prompt_tokens"), ("usage", "total_tokens"), ("usage", "prompt_tokens_details"), ("id",), ("model",)],
    ],
    "google": [
        *[("candidates",), ("candidates", 0), ("candidates", 0, "content"), ("candidates", 0, "content", "parts"), ("candidates", 0, "content", "parts", 0)],
        *[("candidates", 0, "content", "parts", 0, "text"), ("candidates", 0, "content", "parts", 0, "thought"), ("candidates", 0, "finishReason")],
        *[("promptFeedback",), ("usageMetadata",), ("usageMetadata", "promptTokenCount"), ("usageMetadata", "candidatesTokenCount"), ("responseId",)],
    ],
}
"""By provider, the parts of an answer."""

TEXTS: dict[str, Path] = {
    "anthropic": ("content", 0, "text"),
    "openai": ("output", 0, "content", 0, "text"),
    "openai-compatible": ("choices", 0, "message", "content"),
    "google": ("candidates", 0, "content", "parts", 0, "text"),
}
"""By provider, where the model's words are."""

VALUES: list[str | None] = [
    *[None, "null", "true", '""', '" \\n\\u2003"', '"text"', "5", "-1", "0.5", "1e400", "NaN", "-Infinity", "9" * 5000],
    *["[]", "{}", "[null]", "[[]]", '[[["nested"]]]', '{"a": {"b": [null]}}', '[{"type": "tool_use", "name": "x", "input": {}}]', '["text"]'],
    *[
        '"\\ud83d"',
        '"cut \\ud83d here"',
        '"a\\u0000b"',
        '"a\\u2028b\\u2029c\\u0085d"',
        '"\ud83d"',
    ],
]
"""What stands in place of a part, as JSON or nearly; none takes it out."""

DEEP = ["[" * 200_000 + "]" * 200_000, '{"a":' * 50_000 + "1" + "}" * 50_000]
"""Parts that no reader gets to the end of, wherever they stand."""

BODIES: list[dict[str, Any]] = [
    {"body": ""},
    {"body": " "},
    *[{"body": text} for text in ("null", "[]", "{}", "5", '"text"', "true", "NaN", "[[[]]]", '{"error": null}', '{"error": {"message": 5}}', "data: {}\n\n")],
    {"body": "{" * 200_000},
    {"body": "[" * 200_000 + "]" * 200_000},
    {"body": '{"id": "x", "choices": [', "headers": {"content-type": "application/json"}},
    {"body": "<!doctype html><title>Sign in</title>", "headers": {"content-type": "text/html"}},
    {"body": "\xff\xfe{\x00}\x00"},
    {"body": "\xef\xbb\xbf{}"},
    {"body": "\x00" * 1000},
    {"body": '{"a": 1}', "headers": {"content-encoding": "gzip"}},
    {"body": '{"a": 1}', "headers": {"content-encoding": "deflate"}},
    {"body": '{"a": 1}', "headers": {"content-encoding": "zstd"}},
    {"body": '{"a": 1}', "headers": {"content-encoding": "rot13"}},
    {"body": '{"a": 1}', "headers": {"content-type": "application/json; charset=utf-99"}},
    {"body": '{"a": 1}', "headers": {"content-type": "\xe9\xff"}},
    {"body": '5\r\n{"a":\r\nzz\r\n', "headers": {"transfer-encoding": "chunked", "content-length": None}, "sent": 0.99},
    {"body": '5\r\n{"a":\r\n', "headers": {"transfer-encoding": "chunked", "content-length": None}, "sent": 0.99},
    {"body": "{}", "headers": {"content-length": "500"}, "sent": 0.99},
    {"body": "{}", "headers": {"content-length": "-5"}, "sent": 0.99},
    {"body": "", "status": 204},
    {"body": "{}", "status": 206},
    {"body": "", "status": 302, "headers": {"location": "http://127.0.0.1:1/elsewhere"}},
    {"body": "", "status": 307, "headers": {"location": "file:///etc/passwd"}},
    {"body": "", "status": 304},
    {"body": "[]", "status": 500},
    {"body": '{"error": "words"}', "status": 500},
    {"body": '{"error": {"message": ["a"], "type": {"b": 1}, "code": [2], "details": 5}}', "status": 400},
    {"body": '{"error": {"message": null, "code": {"c": 1}, "details": {"error_code": 5}}}', "status": 429},
    {
        "body": '{"error": {"message": "x", "details": [{"@type": "RetryInfo", "retryDelay": "infs"}, {"@type": "QuotaFailure", "violations": 5}]}}',
        "status": 429,
    },
    {"body": '{"error": {"message": "\\ud83d\\u0000", "details": [{"@type": "QuotaFailure", "violations": [null]}]}}', "status": 429},
    {"body": "\xff\x00<", "status": 503},
    {"body": "[" * 200_000, "status": 500},
]
"""Bytes in place of an answer; some with a status that is an error's."""

WAITS = [
    "inf",
    "-inf",
    "nan",
    "-5",
    "1e400",
    "1e300",
    "9" * 5000,
    "",
    "soon",
    "0x10",
    "Fri, 31 Dec 9999 23:59:59 GMT",
    "Fri, 99 Foo 2026",
    "2026-01-01T00:00:00",
]
WAITS += ["Mon, 01 Jan 99999999999999999999 00:00:00 GMT", "Mon, 01 Jan 0001 00:00:00 +2359", "1,5", "1 2", "\xb2"]
"""Of `retry-after`."""

COUNTS = ["nan", "inf", "-1", "1e400", "0", "", "many", "9" * 400, "-inf", "1e-300"]
"""Of headers that tell limits."""
