"""Upper bounds of the tokens that a call can be billed for, and a plausibility check of a provider's count."""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from core.llm.chat import ChatRequest, Reply, Usage

HIDDEN_TOKENS, HIDDEN_TOKENS_OF_SCHEMA, HIDDEN_TOKENS_OF_MESSAGE = 256, 1000, 16
"""Tokens in addition to the text sent: for the start of a chat template, for a provider's instructions on a schema, and around each message."""

HIDDEN_TOKENS_OF_PROVIDER = {"claude-cli": 4000}
"""Further tokens, by provider: the program's own instructions."""

ROUNDS = {"claude-cli": 4}
"""Maximum requests that a program sends for one of ours: it continues a cut-off answer up to three times."""

MIN_MAX_TOKENS = 16
"""The smallest maximum length of an answer, in tokens, that every API accepts."""

SCHEMA_COPIES = 2
"""A schema is sent twice: in the prompt, and separately to the server."""

ABSURD = 10
"""Multiple of the bound above which a count is rejected as impossible; a smaller excess is accepted as a surprise."""

CHARACTERS_PER_TOKEN, MIN_CHARACTERS = 16, 4000
"""Maximum characters per allowed token of an answer: languages and code have up to eight on average. The second number is the smallest bound, because a
short answer may be the provider's own text."""

MAX_RAW = 4000
"""Maximum characters of a provider's usage report that are stored."""

WORDS_PER_TOKEN = 2
"""Maximum words per token on average: no tokenizer in use joins more than two."""

CACHE_SIZE, CACHE_SIZE_LONG = 4096, 128
"""Number of texts whose sizes are cached: the messages of a hundred concurrent conversations, and longer texts such as their instructions."""

LONG = 4000
"""Maximum characters of a text that is cached as a message; longer texts have their own, smaller cache."""


def most_usage(request: ChatRequest, model: str, excess: Usage = Usage()) -> Usage:  # noqa: B008  it is frozen
    """Return the maximum tokens that a request can be billed for.

    A tokenizer over bytes produces at most one token per byte, and all other tokenizers in use fall back to bytes.

    Args:
        request: the request.
        model: `provider/model`.
        excess: by how much calls of the model have exceeded this bound so far.
    """
    provider = model.partition("/")[0]
    schema = SCHEMA_COPIES * _size(json.dumps(request.schema, ensure_ascii=False)) + HIDDEN_TOKENS_OF_SCHEMA if request.schema else 0
    hidden = HIDDEN_TOKENS + HIDDEN_TOKENS_OF_PROVIDER.get(provider, 0) + HIDDEN_TOKENS_OF_MESSAGE * (1 + len(request.messages))
    prompt = _sum(request, _size, _cached_size, _cached_size_of_long) + schema + hidden
    answer, rounds = max(request.max_tokens, MIN_MAX_TOKENS), ROUNDS.get(provider, 1)
    # each round reads the output of the rounds before it
    return Usage(rounds * prompt + rounds * (rounds - 1) // 2 * answer + excess.input_tokens, rounds * answer + excess.output_tokens)


def most_characters(request: ChatRequest, model: str) -> int:
    """Return the maximum characters of an answer.

    Args:
        request: the request.
        model: `provider/model`.
    """
    tokens = max(request.max_tokens, MIN_MAX_TOKENS) * ROUNDS.get(model.partition("/")[0], 1)
    return max(MIN_CHARACTERS, CHARACTERS_PER_TOKEN * tokens)


def read_usage(read: Any, written: Any, cache_read: Any = None, cache_write: Any = None, raw: Any = None) -> Usage:
    """Return the tokens of a call as the provider counts them; marked as estimated if a count is missing or invalid.

    Args:
        read: tokens of the complete prompt.
        written: tokens of the answer including thinking.
        cache_read, cache_write: tokens of the prompt read from or written to the cache; None for zero.
        raw: the provider's usage report.
    """
    report = _storable(raw)
    counts = [_count(value) for value in (read, written, 0 if cache_read is None else cache_read, 0 if cache_write is None else cache_write)]
    valid = [count for count in counts if count is not None]
    if len(valid) < len(counts) or valid[2] + valid[3] > valid[0]:
        return Usage(raw=report, estimated=True)
    return Usage(*valid, raw=report)


def total(count: Any, *more: Any) -> int | None:
    """Return the sum of counts, of which all but the first may be None; None if one is invalid."""
    counts = [_count(count), *(_count(value) for value in more if value is not None)]
    valid = [value for value in counts if value is not None]
    return sum(valid) if len(valid) == len(counts) else None


def believable(reply: Reply, request: ChatRequest, most: Usage) -> bool:
    """Return whether a provider's count is plausible: not far above the bound, and not too low for the words sent and received.

    Args:
        reply: the reply with the count.
        request: the request.
        most: from `most_usage`.
    """
    usage = reply.usage
    if usage.estimated or usage.input_tokens > ABSURD * most.input_tokens or usage.output_tokens > ABSURD * most.output_tokens:
        return False
    prompt = _sum(request, _words, _cached_words, _cached_words_of_long)
    answer = 0 if reply.finish == "refusal" else _words(reply.text)  # the text of a refusal is its reason, often written by our own adapter
    return usage.input_tokens * WORDS_PER_TOKEN >= prompt and usage.output_tokens * WORDS_PER_TOKEN >= answer


def charged_usage(reply: Reply, request: ChatRequest, most: Usage, excess: Usage = Usage()) -> Usage:  # noqa: B008  it is frozen
    """Return the tokens that a reply is charged with: the provider's count or, if that is implausible, the maximum that the call can have used.

    If the answer contains everything that the model wrote, the maximum of its output is one token per byte.

    Args:
        reply: the reply.
        request: the request.
        most: from `most_usage`.
        excess: by how much calls of the model have exceeded the bound so far.
    """
    if believable(reply, request, most):
        return reply.usage
    written = reply.written + HIDDEN_TOKENS_OF_MESSAGE + excess.output_tokens if reply.written else most.output_tokens
    return replace(most, output_tokens=min(most.output_tokens, written), raw=reply.usage.raw, estimated=True)


def all_written(text: str, usage: Usage, thought: bool) -> int | None:
    """Return the size in bytes of everything that a model wrote; None if the answer does not contain all of it.

    Args:
        text: the answer as received.
        usage: the provider's count.
        thought: whether the provider reports thinking outside the answer.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    return None if thought or usage.output_tokens > size + HIDDEN_TOKENS_OF_MESSAGE else size


def _storable(raw: Any) -> dict[str, Any]:
    """Return a provider's usage report in a form that can be stored."""
    if raw is None:
        return {}
    try:
        text = json.dumps(raw, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError):  # NaN, an integer of thousands of digits, a lone surrogate
        return {"usage": "what is no JSON"}
    return raw if isinstance(raw, dict) and len(text) <= MAX_RAW else {"usage": text[:200]}


def _count(value: Any) -> int | None:
    """Return a count of tokens; None for text, a boolean, a negative or fractional number, or one that no call can have."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53 or value != int(value):
        return None
    return int(value)


def _sum(request: ChatRequest, count: Callable[[str], int], cached: Callable[[str], int], cached_of_long: Callable[[str], int]) -> int:
    """Return the sum of a count over the texts of a request. Counts are cached, except of its volatile end, which is not sent again."""
    texts = [request.system, *(message.content for message in request.messages)]
    stable = len(texts) - request.volatile
    return sum((cached_of_long if len(text) > LONG else cached)(text) for text in texts[:stable]) + sum(map(count, texts[stable:]))


def _size(text: str) -> int:
    """Return the size of a text in bytes, or of its compatibility form (NFKC) if that is larger: some tokenizers normalise the text first."""
    if text.isascii():
        return len(text)
    return max(len(form.encode("utf-8", "surrogatepass")) for form in (text, unicodedata.normalize("NFKC", text)))


def _words(text: str) -> int:
    return len(text.split())


_cached_size, _cached_size_of_long = lru_cache(CACHE_SIZE)(_size), lru_cache(CACHE_SIZE_LONG)(_size)
_cached_words, _cached_words_of_long = lru_cache(CACHE_SIZE)(_words), lru_cache(CACHE_SIZE_LONG)(_words)
