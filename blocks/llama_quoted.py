"""Requests to a llama-server whose messages quote control tokens. They are sent as token ids, because the chat endpoint would not treat them as text."""

from typing import Any, Literal

import httpx2
from pydantic import BaseModel, ValidationError

from blocks.http import BASE_BYTES, BYTES_PER_TOKEN, quoted, read_refusal
from blocks.llama_process import Server, local_client
from blocks.llama_quoting import mark, pieces
from core.errors import BadRequestError, ConnectError, ContextError, MalformedError, ModelError, ProviderError
from core.llm.chat import Usage


class _Completion(BaseModel):
    """The fields of an answer of /completion that are used (https://github.com/ggml-org/llama.cpp/tree/master/tools/server)."""

    content: str
    stop_type: str = "eos"
    tokens_evaluated: int
    tokens_predicted: int


async def complete_quoted(
    server: Server, messages: list[dict[str, str]], controls: Any, room: int, options: dict[str, Any]
) -> tuple[str, Literal["stop", "length"], Usage]:
    """Return the text of the answer, how it ended, and the token counts.

    Args:
        messages: the conversation, each message with `role` and `content`.
        controls: pattern of the model's control tokens.
        room: maximum tokens of the answer.
        options: options of /completion, such as `temperature` and `json_schema`.

    Raises:
        ConnectError, ModelError: the server gave no usable answer.
    """
    marked, marker = mark(messages, controls)
    prompt = str((await _ask(server, "apply-template", {"messages": marked}))["prompt"])
    # apply-template removes the BOS token from the prompt if the server adds one itself
    ids = list((await _ask(server, "tokenize", {"content": "", "add_special": True}))["tokens"])
    for text, special in pieces(prompt, marker, controls):
        ids += (await _ask(server, "tokenize", {"content": text, "add_special": False, "parse_special": special}))["tokens"]
    answer = await _ask(server, "completion", {"prompt": ids, "n_predict": room, **options}, BASE_BYTES + BYTES_PER_TOKEN * room)
    try:
        completion = _Completion.model_validate(answer)
    except ValidationError as invalid:
        raise MalformedError(f"llama-server's answer does not have the expected form ({invalid.error_count()} errors).") from invalid
    return completion.content, "length" if completion.stop_type == "limit" else "stop", Usage(len(ids), completion.tokens_predicted)


async def _ask(server: Server, path: str, body: dict[str, Any], max_bytes: int | None = None) -> Any:
    headers = {"Authorization": f"Bearer {server.key}"} if server.key else {}
    try:
        async with local_client(seconds=None) as client:
            response = await client.post(f"{server.address}/{path}", json=body, headers=headers)
    except httpx2.HTTPError as error:
        raise ConnectError(f"The connection to llama-server broke ({type(error).__name__}).") from error
    if response.status_code != httpx2.codes.OK:
        raise refusal(response.content, response.status_code)
    if max_bytes is not None and len(response.content) > max_bytes:
        raise MalformedError(f"llama-server sent {len(response.content):,} bytes, more than this request allows.")
    try:
        return response.json()
    except ValueError as invalid:
        raise MalformedError("llama-server's answer is not JSON.") from invalid


def refusal(body: bytes, status: int) -> ModelError:
    """Return the error for a llama-server's refusal.

    Args:
        body: the body of its response.
        status: the HTTP status.
    """
    reported = read_refusal(body)
    text = quoted(reported.message)
    if reported.kind == "exceed_context_size_error" or ("context" in text and ("exceed" in text or "larger" in text)):
        return ContextError("The conversation is longer than the model's context.")
    return (BadRequestError if status < 500 else ProviderError)(f"llama-server answered {status}: {text or 'nothing'}")
