"""Streaming of a llama-server's reply."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import httpx2
from pydantic import BaseModel, ValidationError

from blocks.http import BASE_BYTES, BYTES_PER_TOKEN
from blocks.llama_process import Server, local_client
from blocks.llama_quoted import complete_quoted, refusal
from blocks.llama_quoting import control_tokens, mark
from core.errors import ConnectError, MalformedError

EVENT_BYTES = 1000
"""Maximum bytes of an event besides the token that it contains."""


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Event(BaseModel):
    """The fields of an event that are used."""

    choices: list[_Choice] = []
    error: Any = None


@dataclass
class Ending:
    """How a reply ended.

    Args:
        finish: `stop` if the model ended the reply, `length` if it reached the maximum tokens; empty while the reply is incomplete.
    """

    finish: str = ""


async def stream_reply(
    server: Server, path: Path, messages: Sequence[Mapping[str, str]], temperature: float, max_tokens: int, ending: Ending
) -> AsyncIterator[str]:
    """Yield the pieces of the reply to a conversation as the model writes them, without text that the server recognises as thinking.

    If a message quotes a control token, the reply is one piece.

    Args:
        path: path of the model's GGUF.
        messages: each with `role` and `content`; a system prompt comes first.
        temperature: sampling temperature; 0 always takes the likeliest token.
        max_tokens: maximum tokens of the reply.
        ending: set at the end of the reply.

    Raises:
        ContextError: the conversation is longer than the server's context.
        ConnectError: the connection broke, or ended before the reply did.
        MalformedError: the response is not a stream of a reply, or is too long.
        ModelError: the server gave no answer.
    """
    composed = [{**message, "content": normalize("NFC", message["content"])} for message in messages]
    if mark(composed, controls := control_tokens(path))[1]:
        text, ending.finish, _ = await complete_quoted(server, composed, controls, max_tokens, {"temperature": temperature})
        yield text
        return
    body = {"messages": composed, "temperature": temperature, "max_tokens": max_tokens, "stream": True}
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        # no timeout: a long prompt takes minutes on a small machine, and the user can press Ctrl-C
        async with (
            local_client(seconds=None) as client,
            client.stream("POST", f"{server.address}/v1/chat/completions", json=body, headers=headers) as response,
        ):
            limit = BASE_BYTES + (BYTES_PER_TOKEN + EVENT_BYTES) * max_tokens
            if response.status_code != httpx2.codes.OK:
                raise refusal(await _read_all(response, limit), response.status_code)
            async for event in _events(response, limit):
                for choice in event.choices:
                    ending.finish = choice.finish_reason or ending.finish
                    if text := choice.delta.content:
                        yield text
        if not ending.finish:
            raise ConnectError("The connection to llama-server ended before the reply did. Send the message again.")
    except httpx2.HTTPError as error:
        raise ConnectError(f"The connection to llama-server broke ({type(error).__name__}). Send the message again.") from error


async def _events(response: httpx2.Response, limit: int) -> AsyncIterator[_Event]:
    """Yield the events of a response. Only a line feed ends a line, because a model may write other line separators."""
    rest = b""
    async for data in _bounded(response, limit):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            kind, _, value = line.partition(b":")
            if kind == b"error":
                raise refusal(value, 500)
            if kind == b"data" and value.strip() != b"[DONE]":
                try:
                    event = _Event.model_validate_json(value)
                except ValidationError as invalid:
                    raise MalformedError("llama-server sent an event that is not part of a reply. Send the message again.") from invalid
                if event.error is not None:
                    raise refusal(value, 500)
                yield event


async def _bounded(response: httpx2.Response, limit: int) -> AsyncIterator[bytes]:
    read = 0
    async for data in response.aiter_bytes():
        read += len(data)
        if read > limit:
            raise MalformedError(f"llama-server sent more than {limit:,} bytes, the most that this message allows.")
        yield data


async def _read_all(response: httpx2.Response, limit: int) -> bytes:
    return b"".join([data async for data in _bounded(response, limit)])
