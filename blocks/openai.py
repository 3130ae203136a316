"""OpenAI's models, through the Responses API."""

import os
import re
from collections.abc import Mapping
from typing import Any, Literal

import httpx2
import openai
from prefect.blocks.abstract import CredentialsBlock
from pydantic import BaseModel, Field, HttpUrl, SecretStr
from pydantic_core import to_json

from blocks.answers import Endpoint
from blocks.connections import http_client
from blocks.http import NO_HEADERS, allowances, clean_key, quoted, read_refusal, seconds_to_wait, status_error
from blocks.openai_batches import OpenAIBatches
from core.errors import BadRequestError, ProviderError, RateLimitError, RefusedError, SettingsError, UnderstudyError
from core.llm.chat import Allowance, ChatRequest, Reply
from core.llm.usage_bounds import all_written, read_usage
from core.records import LimitKind
from core.settings.addresses import Address, given_address

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

LIMIT_HEADERS: dict[LimitKind, tuple[str, str, str]] = {
    "requests": ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    "tokens": ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
}
"""Headers with the limit, the remaining amount and the reset, by kind of limit."""
MIN_OUTPUT_TOKENS = 16  # the API refuses a smaller max_output_tokens
SPENT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
"""Error codes for used-up credit or a reached spend limit."""
BROKEN_OFF = ("cancelled", "in_progress", "queued")
"""Statuses of a response that was interrupted."""
BREAKPOINT = {"mode": "explicit"}


class _Content(BaseModel):
    type: str
    text: str = ""
    refusal: str = ""


class _Item(BaseModel):
    type: str
    content: list[_Content] | None = None


class _Error(BaseModel):
    code: str = "unknown"
    message: str = "no reason given"


class _Response(BaseModel):
    """The fields of an answer that are used."""

    id: Any = None
    status: Any = None
    error: _Error | None = None
    incomplete_details: Any = None
    output: list[_Item]
    usage: Any = None
    model: Any = None


class OpenAI(CredentialsBlock):
    """A model by OpenAI.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.openai import OpenAI

        block = OpenAI.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy OpenAI Model"
    _block_type_slug = "understudy-openai"
    _documentation_url = HttpUrl("https://developers.openai.com/api/docs")

    model: str = Field(title="Model", description="Name of the model, such as gpt-6-luna.")
    api_key: SecretStr = Field(default=SecretStr(""), title="API key", description="Without one, the variable OPENAI_API_KEY is read.")
    base_url: Address = Field(default="", title="Base URL", description="Another address of the API, with its /v1.")
    effort: Effort | None = Field(default=None, title="Effort", description="How much the model reasons; without one, the model's own default.")
    temperature: float | None = Field(default=None, title="Temperature", description="Reasoning models take one only with the effort none.", ge=0, le=2)

    def get_client(self) -> "OpenAIChat":
        """Return the model.

        Raises:
            SettingsError: there is no key, or it contains characters that keys do not have.
        """
        raw_key = self.api_key.get_secret_value() or os.environ.get("OPENAI_API_KEY")
        key = clean_key(raw_key, f"openai/{self.model}")
        if not key:
            raise SettingsError(f"No key for openai/{self.model}. Set the environment variable OPENAI_API_KEY, or name a saved block that has one.")
        return OpenAIChat(self, key)


class OpenAIChat:
    """A client for one model by OpenAI. It makes one call per request and retries nothing."""

    caveat = None

    def __init__(self, block: OpenAI, key: str) -> None:
        """Create the client, which all calls share."""
        self.reference = f"openai/{block.model}"
        self.client = openai.AsyncOpenAI(
            api_key=key, base_url=given_address(block.base_url, "OPENAI_BASE_URL"), max_retries=0, http_client=http_client(), timeout=None
        )
        self.endpoint = Endpoint(self.reference, str(self.client.base_url), "OpenAI's Responses API")
        self._options: dict[str, Any] = {"model": block.model, "store": False}
        self._options |= {"reasoning": {"effort": block.effort}} if block.effort else {}
        self._options |= {"temperature": block.temperature} if block.temperature is not None else {}
        self._explicit = takes_breakpoints(block.model)

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError, RunStoppedError: the API gave no usable answer.
        """
        # bytes are sent unchanged; the SDK's method for responses would first convert the request according to its type hints
        sending = self.client.post("/responses", content=to_json(self.body(request)), cast_to=httpx2.Response)
        response: httpx2.Response = await self.endpoint.ask(request, sending, self.refused)
        return self.read(request, response.content, response.headers)

    def batches(self) -> OpenAIBatches:
        """Return the interface to the model's batches."""
        return OpenAIBatches(self)

    def refused(self, error: Exception) -> UnderstudyError | None:
        """Convert the SDK's error for an HTTP status to one of the project's errors; return None for any other error."""
        return openai_error(self.endpoint, error)

    def body(self, request: ChatRequest) -> dict[str, Any]:
        """Return the JSON body of a request."""
        options = dict(self._options)
        if request.schema:
            options["text"] = {"format": {"type": "json_schema", "name": request.role, "strict": True, "schema": dict(request.schema)}}
        if request.item:
            options["prompt_cache_key"] = f"{request.item}-{request.role}"[-64:]
        if self._explicit:
            options["prompt_cache_options"] = BREAKPOINT
        return {"input": _input(request, self._explicit), "max_output_tokens": max(MIN_OUTPUT_TOKENS, request.max_tokens), **options}

    def read(self, request: ChatRequest, content: bytes, headers: Mapping[str, str] = NO_HEADERS) -> Reply:
        """Read an answer.

        Raises:
            ModelError: it does not have the API's form, or reports that the response failed.
        """
        response = self.endpoint.read(request, content, _Response)
        if response.status == "failed":
            raise _failed(self.reference, response.error or _Error())
        thinks = self._options.get("reasoning") != {"effort": "none"}
        return _reply(response, allowances(headers, LIMIT_HEADERS), headers.get("x-request-id"), thinks)


def _reply(response: _Response, limits: tuple[Allowance, ...], request_id: str | None, thinks: bool) -> Reply:
    used = plain(response.usage)
    details = plain(used.get("input_tokens_details"))
    read, written = details.get("cached_tokens"), details.get("cache_write_tokens")
    counted = read_usage(used.get("input_tokens"), used.get("output_tokens"), read, written, response.usage)
    parts = [part for item in response.output if item.type == "message" for part in item.content or ()]
    refusals = [part.refusal for part in parts if part.type == "refusal"]
    reason = plain(response.incomplete_details).get("reason")
    thought = thinks or bool(refusals) or any(item.type != "message" for item in response.output)
    finish: Literal["stop", "length", "refusal"] = "stop"
    text = "".join(part.text for part in parts if part.type == "output_text")
    written = all_written(text, counted, thought)
    if refusals or reason == "content_filter":
        finish, text = "refusal", " ".join(refusals) or "content filter"
    elif response.status == "incomplete" or (text and response.status in BROKEN_OFF):
        finish = "length"
    reasoned = any(item.type == "reasoning" for item in response.output)
    return Reply(text, finish, counted, limits, request_id or response.id, written, reported=response.model, thought=reasoned)


def plain(value: Any) -> dict[str, Any]:
    """Return a part of an answer that should be an object, or an empty one if it is not."""
    return value if isinstance(value, dict) else {}


def takes_breakpoints(model: str) -> bool:
    """Return whether a model takes explicit cache breakpoints: gpt-5.6 and later (developers.openai.com/api/docs/guides/prompt-caching)."""
    version = re.match(r"gpt-(\d+)(?:\.(\d+))?", model)
    return version is not None and (int(version[1]), int(version[2] or 0)) >= (5, 6)


def openai_error(endpoint: Endpoint, error: Exception) -> UnderstudyError | None:
    """Convert the SDK's error for an HTTP status to one of the project's errors; return None for any other error."""
    if not isinstance(error, openai.APIStatusError) or error.status_code < 400:
        return None
    headers, refusal = error.response.headers, read_refusal(error.response.content)
    if error.status_code == 404 and "json" not in headers.get("content-type", ""):
        return endpoint.nothing_there()
    wait, limits = seconds_to_wait(headers), allowances(headers, LIMIT_HEADERS)
    spent, overlong = refusal.code in SPENT, refusal.code == "context_length_exceeded"
    return status_error(endpoint.reference, error.status_code, refusal.message, wait, limits, spent=spent, overlong=overlong)


def _failed(reference: str, error: _Error) -> UnderstudyError:
    code, summary = error.code, f"{reference} failed with {quoted(error.code)}: {quoted(error.message)}"
    if code == "rate_limit_exceeded":
        return RateLimitError(f"{summary}.")
    if code in ("invalid_prompt", "bio_policy", "cyber_policy") or "policy" in code:
        return RefusedError(f"{summary}.")
    return ProviderError(f"{summary}.") if code in ("server_error", "unknown") else BadRequestError(f"{summary}.")


def _input(request: ChatRequest, explicit: bool) -> list[Any]:
    """Return the history. Each message that will be sent again ends a cacheable prefix, where the API allows a mark."""
    stable = len(request.messages) - request.volatile
    items: list[Any] = [_item("system", request.system, explicit)] if request.system else []
    return items + [_item(message.role, message.content, explicit and number < stable) for number, message in enumerate(request.messages)]


def _item(role: str, text: str, marked: bool) -> dict[str, Any]:
    if role == "assistant":
        return {"role": role, "content": text}
    return {"role": role, "content": [{"type": "input_text", "text": text} | ({"prompt_cache_breakpoint": BREAKPOINT} if marked else {})]}
