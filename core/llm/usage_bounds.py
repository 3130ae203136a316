"""What a call can be billed for at most, and whether a provider's count of it can be true."""

import json
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from typing import Any

from core.llm.chat import ChatRequest, Reply, Usage

HIDDEN_TOKENS, HIDDEN_TOKENS_OF_SCHEMA, HIDDEN_TOKENS_OF_MESSAGE = 256, 1000, 16
"""Beyond the text that is sent: what a chat template begins with, what a provider says of a form of answers, and what stands around a message."""

HIDDEN_TOKENS_OF_PROVIDER = {"claude-cli": 4000}
"""The program's own instructions."""

ROUNDS = {"claude-cli": 4}
"""Requests for one of ours: the program has an answer continued three times that is cut off."""

LEAST_ROOM = 16
"""The smallest room for an answer that every API takes."""

SCHEMA_COPIES = 2
"""A schema goes into the prompt, and to the server beside it."""

ABSURD = 10
"""Times the bound from which a count is no surprise but nonsense."""

CHARACTERS_PER_TOKEN, LEAST_CHARACTERS = 16, 4000
"""An answer with more characters for each token of its room is no answer: languages and code have up to eight, in the mean of a text. A short one
may be the provider's own words."""

LARGEST_RAW = 4000
"""Characters of what a provider says of a call's usage."""

WORDS_PER_TOKEN = 2
"""No tokenizer in use joins more than two words to a token, in the mean of a text."""

KEPT, KEPT_LONG = 4096, 128
"""Texts whose sizes are kept: the messages of a hundred conversations that are under way at once, and what is longer, such as their instructions."""

LONG = 4000
"""Characters of the longest text that counts as a message."""


def most_usage(request: ChatRequest, model: str, excess: Usage = Usage()) -> Usage:  # noqa: B008  it is frozen
    """Return the most tokens that a request can be billed for.

    A tokenizer over bytes makes a token of each byte at most, and all others in use fall back to bytes.

    Args:
        model: `provider/model`.
        excess: by how much calls of the model have gone beyond this bound.
    """
    provider = model.partition("/")[0]
    schema = SCHEMA_COPIES * _size(json.dumps(request.schema, ensure_ascii=False)) + HIDDEN_TOKENS_OF_SCHEMA if request.schema else 0
    hidden = HIDDEN_TOKENS + HIDDEN_TOKENS_OF_PROVIDER.get(provider, 0) + HIDDEN_TOKENS_OF_MESSAGE * (1 + len(request.messages))
    prompt = _sum(request, _size, _kept_size, _kept_size_of_long) + schema + hidden
    room, rounds = max(request.max_tokens, LEAST_ROOM), ROUNDS.get(provider, 1)
    # each round reads what the rounds before it wrote
    return Usage(rounds * prompt + rounds * (rounds - 1) // 2 * room + excess.input_tokens, rounds * room + excess.output_tokens)


def most_characters(request: ChatRequest, model: str) -> int:
    """Return the characters that an answer can have at most.

    Args:
        model: `provider/model`.
    """
    tokens = max(request.max_tokens, LEAST_ROOM) * ROUNDS.get(model.partition("/")[0], 1)
    return max(LEAST_CHARACTERS, CHARACTERS_PER_TOKEN * tokens)


def read_usage(read: Any, written: Any, cache_read: Any = None, cache_write: Any = None, raw: Any = None) -> Usage:
    """Return the tokens of a call as a provider counts them; unknown where a count is missing or is none.

    Args:
        read: tokens of the whole prompt; written: of the answer with its thinking.
        cache_read, cache_write: parts of the prompt; none for zero.
        raw: what the provider said.
    """
    said = _written(raw)
    counts = [_count(value) for value in (read, written, 0 if cache_read is None else cache_read, 0 if cache_write is None else cache_write)]
    known = [count for count in counts if count is not None]
    if len(known) < len(counts) or known[2] + known[3] > known[0]:
        return Usage(raw=said, estimated=True)
    return Usage(*known, raw=said)


def total(count: Any, *more: Any) -> int | None:
    """Return the sum of counts, of which all but the first may be missing; none if one is no count."""
    counts = [_count(count), *(_count(value) for value in more if value is not None)]
    known = [value for value in counts if value is not None]
    return sum(known) if len(known) == len(counts) else None


def believable(reply: Reply, request: ChatRequest, most: Usage) -> bool:
    """Say whether a provider's count can be true: not far beyond what can be, and not far below the words that went and came."""
    usage = reply.usage
    if usage.estimated or usage.input_tokens > ABSURD * most.input_tokens or usage.output_tokens > ABSURD * most.output_tokens:
        return False
    asked = _sum(request, _words, _kept_words, _kept_words_of_long)
    said = 0 if reply.finish == "refusal" else _words(reply.text)  # a refusal's text is the reason, often of our own
    return usage.input_tokens * WORDS_PER_TOKEN >= asked and usage.output_tokens * WORDS_PER_TOKEN >= said


def charged_usage(reply: Reply, request: ChatRequest, most: Usage, excess: Usage = Usage()) -> Usage:  # noqa: B008  it is frozen
    """Return what a reply is charged with: the provider's count, or where that cannot be true, the most that the call can have taken.

    Where all that the model wrote is in the answer, that is a token for each byte of it.

    Args:
        excess: by how much calls of the model have gone beyond the bound.
    """
    if believable(reply, request, most):
        return reply.usage
    written = reply.written + HIDDEN_TOKENS_OF_MESSAGE + excess.output_tokens if reply.written else most.output_tokens
    return replace(most, output_tokens=min(most.output_tokens, written), raw=reply.usage.raw, estimated=True)


def all_written(text: str, usage: Usage, thought: bool) -> int | None:
    """Return the bytes that a model wrote, or none where its answer does not have all of it.

    Args:
        text: the answer as it came.
        thought: whether the provider says that there is more.
    """
    size = len(text.encode("utf-8", "surrogatepass"))
    return None if thought or usage.output_tokens > size + HIDDEN_TOKENS_OF_MESSAGE else size


def _written(raw: Any) -> dict[str, Any]:
    """Return what a provider said of the usage, as it can be written down."""
    if raw is None:
        return {}
    try:
        text = json.dumps(raw, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (ValueError, TypeError, RecursionError):  # not a number, thousands of digits, a lone surrogate
        return {"usage": "what is no JSON"}
    return raw if isinstance(raw, dict) and len(text) <= LARGEST_RAW else {"usage": text[:200]}


def _count(value: Any) -> int | None:
    """Return a count of tokens; none for text, a truth value, a negative or broken number, or one that no call can have."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 2**53 or value != int(value):
        return None
    return int(value)


def _sum(request: ChatRequest, count: Callable[[str], int], kept: Callable[[str], int], kept_of_long: Callable[[str], int]) -> int:
    """Return the sum of a count over the texts of a request; a conversation is sent again with each message, all but its volatile end."""
    texts = [request.system, *(message.content for message in request.messages)]
    again = len(texts) - request.volatile
    return sum((kept_of_long if len(text) > LONG else kept)(text) for text in texts[:again]) + sum(map(count, texts[again:]))


def _size(text: str) -> int:
    """Return the bytes of a text, or those of its compatibility form, which some tokenizers make first, if that has more."""
    if text.isascii():
        return len(text)
    return max(len(form.encode("utf-8", "surrogatepass")) for form in (text, unicodedata.normalize("NFKC", text)))


def _words(text: str) -> int:
    return len(text.split())


_kept_size, _kept_size_of_long = lru_cache(KEPT)(_size), lru_cache(KEPT_LONG)(_size)
_kept_words, _kept_words_of_long = lru_cache(KEPT)(_words), lru_cache(KEPT_LONG)(_words)
