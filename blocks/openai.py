"""OpenAI's models, through the Responses API."""

import os
import re
from typing import Any, Literal

import openai
from openai.types.responses import Response
from prefect.blocks.abstract import CredentialsBlock
from pydantic import BaseModel, Field, HttpUrl, SecretStr

from blocks.http import allowances, clean_key, http_client, never_sent, no_api, seconds_to_wait, status_error, unreachable
from core.addresses import Address, given_address
from core.chat import Allowance, ChatRequest, LimitKind, Reply
from core.errors import BadRequestError, ModelTimeoutError, ProviderError, RateLimitError, RefusedError, SettingsError, UnderstudyError
from core.usage_bounds import all_written, read_usage

Effort = Literal["none", "minimal", "low", "medium", "high", "xhigh", "max"]

LIMIT_HEADERS: dict[LimitKind, tuple[str, str, str]] = {
    "requests": ("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    "tokens": ("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
}
LEAST_ROOM = 16  # the API refuses a smaller max_output_tokens
SPENT = ("insufficient_quota", "billing_hard_limit_reached", "billing_not_active")
BREAKPOINT = {"mode": "explicit"}


class OpenAI(CredentialsBlock):
    """A model of OpenAI's.

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
            SettingsError: there is no key, or what is given is none.
        """
        given = self.api_key.get_secret_value() or os.environ.get("OPENAI_API_KEY")
        key = clean_key(given, f"openai/{self.model}")
        if not key:
            raise SettingsError(f"No key for openai/{self.model}. Set the environment variable OPENAI_API_KEY, or name a saved block that has one.")
        return OpenAIChat(self, key)


class OpenAIChat:
    """A model of OpenAI's: one request, one call, nothing retried."""

    caveat = None

    def __init__(self, block: OpenAI, key: str) -> None:
        """Make the client, which is shared by all calls."""
        self._answered = False
        self.reference = f"openai/{block.model}"
        self._client = openai.AsyncOpenAI(
            api_key=key, base_url=given_address(block.base_url, "OPENAI_BASE_URL"), max_retries=0, http_client=http_client(), timeout=None
        )
        self._options: dict[str, Any] = {"model": block.model, "store": False}
        self._options |= {"reasoning": {"effort": block.effort}} if block.effort else {}
        self._options |= {"temperature": block.temperature} if block.temperature is not None else {}
        self._explicit = takes_breakpoints(block.model)

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError, RunStoppedError: what the API said instead.
        """
        options = dict(self._options)
        if request.schema:
            options["text"] = {"format": {"type": "json_schema", "name": request.role, "strict": True, "schema": dict(request.schema)}}
        if request.item:
            options["prompt_cache_key"] = f"{request.item}-{request.role}"[-64:]
        if self._explicit:
            options["prompt_cache_options"] = BREAKPOINT
        try:
            # as extra_body the request is sent as it is; as arguments the SDK walks it along its type hints, which costs more than the whole rest of the call
            raw = await self._client.responses.with_raw_response.create(
                extra_body={"input": _input(request, self._explicit), "max_output_tokens": max(LEAST_ROOM, request.max_tokens), **options}
            )
            response = raw.parse()
        except openai.OpenAIError as error:
            raise openai_error(self.reference, str(self._client.base_url), error, "OpenAI's Responses API", self._answered) from error
        except ValueError as error:
            raise no_api(self.reference, str(self._client.base_url), "OpenAI's Responses API", self._answered) from error
        if isinstance(response, Response) and response.status == "failed":
            raise _failed(self.reference, response)
        if not isinstance(response, Response) or (response.usage is None and not response.output):
            raise no_api(self.reference, str(self._client.base_url), "OpenAI's Responses API", self._answered)
        self._answered = True
        return self._reply(response, allowances(raw.headers, LIMIT_HEADERS))

    def _reply(self, response: Response, limits: tuple[Allowance, ...]) -> Reply:
        used = plain(response.usage)
        details = plain(used.get("input_tokens_details"))
        counted = read_usage(used.get("input_tokens"), used.get("output_tokens"), details.get("cached_tokens"), details.get("cache_write_tokens"), used)
        finish: Literal["stop", "length", "refusal"] = "stop"
        text = response.output_text
        parts = [part for item in response.output if item.type == "message" for part in item.content]
        refusals = [part.refusal for part in parts if part.type == "refusal"]
        reason = response.incomplete_details.reason if response.incomplete_details else None
        if refusals or reason == "content_filter":
            finish, text = "refusal", " ".join(refusals) or "content filter"
        elif response.status == "incomplete":
            finish = "length"
        thought = self._options.get("reasoning") != {"effort": "none"} or bool(refusals) or any(item.type != "message" for item in response.output)
        return Reply(text, finish, counted, limits, response._request_id or response.id, all_written(response.output_text, counted, thought))


def plain(value: Any) -> dict[str, Any]:
    """Return a part of an answer as plain data, whatever the SDK made of it; empty for what is no object."""
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", exclude_none=True, warnings=False)
    return value if isinstance(value, dict) else {}


def takes_breakpoints(model: str) -> bool:
    """Say whether a model takes explicit cache breakpoints: gpt-5.6 and later (developers.openai.com/api/docs/guides/prompt-caching)."""
    version = re.match(r"gpt-(\d+)(?:\.(\d+))?", model)
    return version is not None and (int(version[1]), int(version[2] or 0)) >= (5, 6)


def openai_error(reference: str, where: str, error: openai.OpenAIError, api: str, answered: bool) -> UnderstudyError:
    """Turn an error of the SDK into ours.

    Args:
        api: what was expected at the address.
        answered: whether it has answered properly before.
    """
    if isinstance(error, openai.APITimeoutError) and not never_sent(error):
        return ModelTimeoutError(f"{reference} gave no answer in time.")
    if isinstance(error, openai.APIConnectionError):
        return unreachable(reference, where, error)
    if isinstance(error, openai.APIStatusError):
        headers, code = error.response.headers, error.code or ""
        if error.status_code == 404 and "json" not in headers.get("content-type", ""):
            return no_api(reference, where, api, answered)
        limits = allowances(headers, LIMIT_HEADERS)
        body = error.body if isinstance(error.body, dict) else {}
        message = str(body.get("message") or error.message)
        return status_error(
            reference, error.status_code, message, seconds_to_wait(headers), limits, spent=code in SPENT, overlong=code == "context_length_exceeded"
        )
    return no_api(reference, where, api, answered)


def _failed(reference: str, response: Response) -> UnderstudyError:
    code, message = (response.error.code, response.error.message) if response.error else ("unknown", "no reason given")
    said = f"{reference} failed with {code}: {message[:300].rstrip('.')}"
    if code == "rate_limit_exceeded":
        return RateLimitError(f"{said}.")
    if code in ("invalid_prompt", "bio_policy", "cyber_policy") or "policy" in code:
        return RefusedError(f"{said}.")
    return ProviderError(f"{said}.") if code in ("server_error", "unknown") else BadRequestError(f"{said}.")


def _input(request: ChatRequest, explicit: bool) -> list[Any]:
    """Return the history; every message that will be sent again ends a cacheable prefix, as far as the API takes marks there."""
    stable = len(request.messages) - request.volatile
    items: list[Any] = [_item("system", request.system, explicit)] if request.system else []
    return items + [_item(message.role, message.content, explicit and number < stable) for number, message in enumerate(request.messages)]


def _item(role: str, text: str, marked: bool) -> dict[str, Any]:
    if role == "assistant":
        return {"role": role, "content": text}
    return {"role": role, "content": [{"type": "input_text", "text": text} | ({"prompt_cache_breakpoint": BREAKPOINT} if marked else {})]}
