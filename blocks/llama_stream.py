"""A reply of a llama-server, piece by piece as it is written."""

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import httpx2

from blocks.llama_process import Server
from core.errors import BadRequestError, ConnectError, ContextError, ModelError, ProviderError

LONGEST_ERROR = 300
"""Characters of what a server says is wrong."""


@dataclass
class Ending:
    """How a reply ended.

    Args:
        finish: `stop` where the model ended by itself, `length` where it ran out of room; empty as long as it is under way.
    """

    finish: str = ""


async def stream_reply(server: Server, messages: Sequence[Mapping[str, str]], temperature: float, max_tokens: int, ending: Ending) -> AsyncIterator[str]:
    """Yield the pieces of the answer to a conversation, as the model writes them; what the server takes for thinking is left out.

    Args:
        messages: each with `role` and `content`; the system prompt first, if there is one.
        temperature: 0 always takes the likeliest token.
        max_tokens: room for the answer.
        ending: filled in at the end.

    Raises:
        ContextError: the conversation is longer than the server's context.
        ConnectError: the connection broke.
        ModelError: the server gave no answer.
    """
    asked = {"messages": list(messages), "temperature": temperature, "max_tokens": max_tokens, "stream": True}
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        # a long prompt takes minutes on a small machine, and whoever waits can press Ctrl-C
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(None, connect=10)) as client,
            client.stream("POST", f"{server.address}/v1/chat/completions", json=asked, headers=headers) as response,
        ):
            if response.status_code != httpx2.codes.OK:
                raise _error(await response.aread(), response.status_code)
            async for event in _events(response):
                for choice in event.get("choices", []):
                    ending.finish = choice.get("finish_reason") or ending.finish
                    if text := choice.get("delta", {}).get("content"):
                        yield str(text)
    except httpx2.HTTPError as error:
        raise ConnectError(f"The connection to llama-server broke ({type(error).__name__}). Send the message again.") from error


async def _events(response: httpx2.Response) -> AsyncIterator[dict[str, Any]]:
    """Yield what a server sends as events; a line ends with a line feed alone, since a model may write other separators."""
    held = b""
    async for data in response.aiter_bytes():
        *lines, held = (held + data).split(b"\n")
        for line in lines:
            kind, _, value = line.partition(b":")
            if kind == b"error":
                raise _error(value, 500)
            if kind == b"data" and value.strip() != b"[DONE]":
                event = json.loads(value)
                if "error" in event:
                    raise _error(value, 500)
                yield event


def _error(body: bytes, status: int) -> ModelError:
    try:
        said = json.loads(body)
        said = said.get("error", said)
        text, kind = str(said.get("message", said)), str(said.get("type", ""))
    except (ValueError, AttributeError):
        text, kind = body.decode(errors="replace"), ""
    text = " ".join(text.split())[:LONGEST_ERROR]
    if kind == "exceed_context_size_error" or ("context" in text and ("exceed" in text or "larger" in text)):
        return ContextError("The conversation is longer than the model's context.")
    return (BadRequestError if status < 500 else ProviderError)(f"llama-server answered {status}: {text or 'nothing'}")
