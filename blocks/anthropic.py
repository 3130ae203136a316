"""Anthropic's models, through the Messages API."""

import os
from collections.abc import Mapping
from typing import Any, Literal

import anthropic
import httpx2
from prefect.blocks.abstract import CredentialsBlock
from pydantic import BaseModel, Field, HttpUrl, SecretStr
from pydantic_core import to_json

from blocks.answers import Endpoint
from blocks.anthropic_batches import AnthropicBatches
from blocks.connections import http_client
from blocks.http import NO_HEADERS, allowances, clean_key, read_refusal, seconds_to_wait, status_error
from core.errors import ContextError, SettingsError, UnderstudyError
from core.llm.chat import ChatRequest, Reply
from core.llm.usage_bounds import all_written, read_usage, total
from core.records import LimitKind
from core.settings.addresses import Address, given_address

Effort = Literal["low", "medium", "high", "xhigh", "max"]

LIMIT_HEADERS: dict[LimitKind, tuple[str, str, str]] = {
    "requests": ("anthropic-ratelimit-requests-limit", "anthropic-ratelimit-requests-remaining", "anthropic-ratelimit-requests-reset"),
    "input_tokens": ("anthropic-ratelimit-input-tokens-limit", "anthropic-ratelimit-input-tokens-remaining", "anthropic-ratelimit-input-tokens-reset"),
    "output_tokens": ("anthropic-ratelimit-output-tokens-limit", "anthropic-ratelimit-output-tokens-remaining", "anthropic-ratelimit-output-tokens-reset"),
}
"""Headers with the limit, the remaining amount and the reset, by kind of limit."""
CACHED = {"type": "ephemeral"}
"""Mark of a part of a request that the provider is to cache."""


class _Block(BaseModel):
    type: str
    text: str = ""


class _Message(BaseModel):
    """The fields of an answer that are used. The SDK's type takes ten times as long to build."""

    content: list[_Block]
    stop_reason: Any = None
    stop_details: Any = None
    usage: Any = None
    model: Any = None


class Anthropic(CredentialsBlock):
    """A model by Anthropic.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.anthropic import Anthropic

        block = Anthropic.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy Anthropic Model"
    _block_type_slug = "understudy-anthropic"
    _documentation_url = HttpUrl("https://platform.claude.com/docs/en/api/messages")

    model: str = Field(title="Model", description="Name of the model, such as claude-haiku-5-5.")
    api_key: SecretStr = Field(default=SecretStr(""), title="API key", description="Without one, the variable ANTHROPIC_API_KEY is read.")
    base_url: Address = Field(default="", title="Base URL", description="Another address of the API; without the /v1.")
    effort: Effort | None = Field(default=None, title="Effort", description="How much the model thinks; the API's own default is medium.")
    thinking: Literal["adaptive", "disabled"] | None = Field(default=None, title="Thinking", description="Thinking counts as output tokens.")

    def get_client(self) -> "AnthropicChat":
        """Return the model.

        Raises:
            SettingsError: there is no key, or it contains characters that keys do not have.
        """
        raw_key = self.api_key.get_secret_value() or os.environ.get("ANTHROPIC_API_KEY")
        key = clean_key(raw_key, f"anthropic/{self.model}")
        if not key:
            raise SettingsError(f"No key for anthropic/{self.model}. Set the environment variable ANTHROPIC_API_KEY, or name a saved block that has one.")
        return AnthropicChat(self, key)


class AnthropicChat:
    """A client for one model by Anthropic. It makes one call per request and retries nothing."""

    caveat = None

    def __init__(self, block: Anthropic, key: str) -> None:
        """Create the client, which all calls share."""
        self.reference = f"anthropic/{block.model}"
        self.client = anthropic.AsyncAnthropic(
            api_key=key,
            base_url=given_address(block.base_url, "ANTHROPIC_BASE_URL"),
            max_retries=0,
            http_client=http_client(),
            timeout=None,
            open_telemetry=False,
        )
        self.endpoint = Endpoint(self.reference, str(self.client.base_url), "Anthropic's Messages API")
        self._model = block.model
        self._options: dict[str, Any] = {"thinking": {"type": block.thinking}} if block.thinking else {}
        self._output: dict[str, Any] = {"effort": block.effort} if block.effort else {}

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError, RunStoppedError: the API gave no usable answer.
        """
        # bytes are sent unchanged; the SDK's method for messages would first copy the request according to its type hints
        sending = self.client.post("/v1/messages", content=to_json(self.body(request)), cast_to=httpx2.Response)
        response: httpx2.Response = await self.endpoint.ask(request, sending, self.refused)
        return self.read(request, response.content, response.headers)

    def batches(self) -> AnthropicBatches:
        """Return the interface to the model's batches."""
        return AnthropicBatches(self)

    def body(self, request: ChatRequest, cached: Mapping[str, Any] = CACHED) -> dict[str, Any]:
        """Return the JSON body of a request.

        Args:
            cached: the cache mark for the parts that will be sent again.
        """
        options: dict[str, Any] = {"model": self._model, "max_tokens": request.max_tokens, "messages": _messages(request, cached), **self._options}
        if output := self._output | ({"format": self._format(request.schema)} if request.schema else {}):
            options["output_config"] = output
        if request.system:
            options["system"] = [{"type": "text", "text": request.system, "cache_control": cached}]
        return options

    def read(self, request: ChatRequest, content: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
        """Read an answer.

        Raises:
            ModelError: it does not have the API's form, or was cut off at the end of the context window.
        """
        message = self.endpoint.read(request, content, _Message)
        if message.stop_reason == "model_context_window_exceeded":
            raise ContextError(f"{self.reference}: the answer was cut off at the end of the context window. Choose a model with a larger context.")
        thinks = self._options.get("thinking") != {"type": "disabled"}
        return _reply(message, thinks, allowances(headers, LIMIT_HEADERS), headers.get("request-id"))

    def _format(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return {"type": "json_schema", "schema": anthropic.transform_schema(dict(schema))}
        except (ValueError, AssertionError) as error:
            refused = SettingsError(f"{self.reference} does not support the requested answer format: {error}. Choose another model for the role.")
            refused.unbilled = True
            raise refused from error

    def refused(self, error: Exception) -> UnderstudyError | None:
        """Convert the SDK's error for an HTTP status to one of the project's errors; return None for any other error."""
        if not isinstance(error, anthropic.APIStatusError) or error.status_code < 400:
            return None
        refusal, headers = read_refusal(error.response.content), error.response.headers
        if error.status_code == 404 and "json" not in headers.get("content-type", ""):
            return self.endpoint.nothing_there()
        # the API reports used-up credit as a bad request
        spent = "spend_limit" in refusal.code or "credit balance is too low" in refusal.message
        # an overload is recognised by its type; its status varies
        status = 529 if refusal.kind == "overloaded_error" else error.status_code
        return status_error(self.reference, status, refusal.message, seconds_to_wait(headers), allowances(headers, LIMIT_HEADERS), spent=spent)


def _messages(request: ChatRequest, cached: Mapping[str, Any]) -> list[Any]:
    """Return the history, with a cache breakpoint after the last message that will be sent again."""
    stable = len(request.messages) - request.volatile
    messages: list[Any] = []
    for number, message in enumerate(request.messages, start=1):
        block: dict[str, Any] = {"type": "text", "text": message.content}
        if number == stable:
            block["cache_control"] = cached
        if messages and messages[-1]["role"] == message.role:
            messages[-1]["content"].append(block)
        else:
            messages.append({"role": message.role, "content": [block]})
    return messages


def _reply(message: _Message, thinks: bool, limits: tuple[Any, ...], request_id: str | None) -> Reply:
    text = answer = "".join(block.text for block in message.content if block.type == "text")
    finish: Literal["stop", "length", "refusal"] = "stop"
    if message.stop_reason == "refusal":
        finish, text = "refusal", str(message.stop_details.get("category") or "") if isinstance(message.stop_details, dict) else ""
    elif message.stop_reason == "max_tokens":
        finish = "length"
    used = message.usage if isinstance(message.usage, dict) else {}
    read, written = used.get("cache_read_input_tokens"), used.get("cache_creation_input_tokens")
    prompt = total(used.get("input_tokens"), read, written)
    usage, more = read_usage(prompt, used.get("output_tokens"), read, written, message.usage), any(block.type != "text" for block in message.content)
    thought = any(block.type in ("thinking", "redacted_thinking") for block in message.content)
    return Reply(text, finish, usage, limits, request_id, all_written(answer, usage, thinks or more), reported=message.model, thought=thought)
