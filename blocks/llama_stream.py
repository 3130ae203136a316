"""A reply of a llama-server, piece by piece as it is written."""

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unicodedata import normalize

import httpx2
from pydantic import BaseModel, ValidationError

from blocks.http import BASE_BYTES, BYTES_PER_TOKEN
from blocks.llama_process import Server
from blocks.llama_quoted import complete_quoted, refusal
from blocks.llama_quoting import control_tokens, mark
from core.errors import ConnectError, MalformedError

EVENT_BYTES = 1000
"""Of an event beside the token that it brings."""


class _Delta(BaseModel):
    content: str | None = None


class _Choice(BaseModel):
    delta: _Delta = _Delta()
    finish_reason: str | None = None


class _Event(BaseModel):
    """What is read of an event."""

    choices: list[_Choice] = []
    error: Any = None


@dataclass
class Ending:
    """How a reply ended.

    Args:
        finish: `stop` where the model ended by itself, `length` where it ran out of room; empty as long as it is under way.
    """

    finish: str = ""


async def stream_reply(
    server: Server, path: Path, messages: Sequence[Mapping[str, str]], temperature: float, max_tokens: int, ending: Ending
) -> AsyncIterator[str]:
    """Yield the pieces of the answer to a conversation, as the model writes them; what the server takes for thinking is left out.

    Where a message quotes a control token, the answer comes in one piece.

    Args:
        path: of the model's GGUF file.
        messages: each with `role` and `content`; the system prompt first, if there is one.
        temperature: 0 always takes the likeliest token.
        max_tokens: room for the answer.
        ending: filled in at the end.

    Raises:
        ContextError: the conversation is longer than the server's context.
        ConnectError: the connection broke, or ended before the reply did.
        MalformedError: what came is no stream of a reply, or longer than one can be.
        ModelError: the server gave no answer.
    """
    composed = [{**message, "content": normalize("NFC", message["content"])} for message in messages]
    if mark(composed, controls := control_tokens(path))[1]:
        text, ending.finish, _ = await complete_quoted(server, composed, controls, max_tokens, {"temperature": temperature})
        yield text
        return
    asked = {"messages": composed, "temperature": temperature, "max_tokens": max_tokens, "stream": True}
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        # a long prompt takes minutes on a small machine, and the user can press Ctrl-C
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=httpx2.Timeout(None, connect=10)) as client,
            client.stream("POST", f"{server.address}/v1/chat/completions", json=asked, headers=headers) as response,
        ):
            most = BASE_BYTES + (BYTES_PER_TOKEN + EVENT_BYTES) * max_tokens
            if response.status_code != httpx2.codes.OK:
                raise refusal(await _whole(response, most), response.status_code)
            async for event in _events(response, most):
                for choice in event.choices:
                    ending.finish = choice.finish_reason or ending.finish
                    if text := choice.delta.content:
                        yield text
        if not ending.finish:
            raise ConnectError("The connection to llama-server ended before the reply did. Send the message again.")
    except httpx2.HTTPError as error:
        raise ConnectError(f"The connection to llama-server broke ({type(error).__name__}). Send the message again.") from error


async def _events(response: httpx2.Response, most: int) -> AsyncIterator[_Event]:
    """Yield what a server sends as events; a line ends with a line feed alone, since a model may write other separators."""
    held = b""
    async for data in _bounded(response, most):
        *lines, held = (held + data).split(b"\n")
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


async def _bounded(response: httpx2.Response, most: int) -> AsyncIterator[bytes]:
    read = 0
    async for data in response.aiter_bytes():
        read += len(data)
        if read > most:
            raise MalformedError(f"llama-server sent more than {most:,} bytes, the most that this message allows.")
        yield data


async def _whole(response: httpx2.Response, most: int) -> bytes:
    return b"".join([data async for data in _bounded(response, most)])
