"""Models behind servers with OpenAI's Chat Completions API, such as llama-server, Ollama and vLLM, on this machine or another."""

import json
import os
from dataclasses import replace
from typing import Any, Literal
from unicodedata import normalize

import httpx2
import openai
from prefect.blocks.abstract import CredentialsBlock
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr
from pydantic_core import to_json

from blocks.answers import Endpoint
from blocks.connections import http_client
from blocks.http import allowances, alternating, bare_json, clean_key
from blocks.openai import LIMIT_HEADERS, openai_error, plain
from core.errors import SettingsError
from core.llm.chat import ChatRequest, Reply, Usage
from core.llm.usage_bounds import all_written, read_usage
from core.packs.prompts import load_shared
from core.settings.addresses import Address, given_address

REASONING = ("reasoning_content", "reasoning")
THOUGHTS = (*REASONING, "tool_calls", "function_call")
"""Fields of a message in which servers return what a model wrote in addition to its answer."""

BROKEN_OFF = ("error", "abort", "aborted", "cancelled", "timeout", "insufficient_system_resource")
"""Finish reasons of answers that the server cut off (vLLM, SGLang, OpenRouter, https://api-docs.deepseek.com/api/create-chat-completion)."""

API = "an OpenAI-compatible API (it needs /chat/completions)"


class _Message(BaseModel):
    model_config = ConfigDict(extra="allow")
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    finish_reason: Any = None


class _Completion(BaseModel):
    """The fields of an answer that are used."""

    id: Any = None
    choices: list[_Choice] = Field(min_length=1)
    usage: Any = None
    model: Any = None
    system_fingerprint: Any = None


class OpenAICompatible(CredentialsBlock):
    """A model behind an OpenAI-compatible server.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.openai_compatible import OpenAICompatible

        block = OpenAICompatible.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy OpenAI-compatible Model"
    _block_type_slug = "understudy-openai-compatible"
    _documentation_url = HttpUrl("https://developers.openai.com/api/docs/api-reference/chat")

    model: str = Field(title="Model", description="Name of the model, as the server knows it.")
    base_url: Address = Field(default="", title="Base URL", description="Address with its /v1; without one, the variable OPENAI_COMPATIBLE_BASE_URL is read.")
    api_key: SecretStr = Field(default=SecretStr(""), title="API key", description="Without one, the variable OPENAI_COMPATIBLE_API_KEY is read, if it is set.")
    temperature: float | None = Field(default=None, title="Temperature", description="Without one, the server's own default.", ge=0)
    top_p: float | None = Field(default=None, title="Top p", description="Without one, the server's own default.", gt=0, le=1)

    def get_client(self) -> "OpenAICompatibleChat":
        """Return the model.

        Raises:
            SettingsError: there is no base URL, or the key contains characters that keys do not have.
        """
        base_url = given_address(self.base_url, "OPENAI_COMPATIBLE_BASE_URL")
        if not base_url:
            raise SettingsError(
                f"No server address for openai-compatible/{self.model}; set the option base_url or the environment variable "
                "OPENAI_COMPATIBLE_BASE_URL, as in http://127.0.0.1:8080/v1."
            )
        raw_key = self.api_key.get_secret_value() or os.environ.get("OPENAI_COMPATIBLE_API_KEY")
        key = clean_key(raw_key, f"openai-compatible/{self.model}")
        return OpenAICompatibleChat(self, base_url, key or "none")


class OpenAICompatibleChat:
    """A client for one model behind an OpenAI-compatible server. It makes one call per request and retries nothing."""

    caveat = None

    def __init__(self, block: OpenAICompatible, base_url: str, key: str) -> None:
        """Create the client, which all calls share."""
        self._thinks: bool | None = None  # whether the model thinks unseen; no server reports it, so the first token count decides
        self._client = openai.AsyncOpenAI(api_key=key, base_url=base_url, max_retries=0, http_client=http_client(), timeout=None)
        self._endpoint = Endpoint(f"openai-compatible/{block.model}", str(self._client.base_url), API)
        sampling = {"temperature": block.temperature, "top_p": block.top_p}
        self._options: dict[str, Any] = {"model": block.model} | {name: value for name, value in sampling.items() if value is not None}

    @property
    def reference(self) -> str:
        """The reference of the model, or of the provider that wraps this client."""
        return self._endpoint.reference

    @reference.setter
    def reference(self, name: str) -> None:
        self._endpoint.reference = name

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request. The prompt also describes the form of a structured answer, because these servers do not show it to the model.

        Raises:
            ModelError, RunStoppedError: the server gave no usable answer.
        """
        options = dict(self._options)
        if request.schema:
            options["response_format"] = {"type": "json_schema", "json_schema": {"name": request.role, "strict": True, "schema": dict(request.schema)}}
        body = {"messages": plain_messages(request), "max_tokens": request.max_tokens, "seed": request.seed % 2**31, **options}
        # bytes are sent unchanged; the SDK's method for completions would first convert the request according to its type hints
        sending = self._client.post("/chat/completions", content=to_json(body), cast_to=httpx2.Response)
        response: httpx2.Response = await self._endpoint.ask(request, sending, lambda error: openai_error(self._endpoint, error))
        completion = self._endpoint.read(request, response.content, _Completion)
        choice = completion.choices[0]
        finish: Literal["stop", "length", "refusal"] = "length" if choice.finish_reason == "length" else "stop"
        text, repaired = choice.message.content or "", ()
        if text and choice.finish_reason in BROKEN_OFF:
            finish = "length"
        if choice.message.refusal or choice.finish_reason == "content_filter":
            finish, text = "refusal", choice.message.refusal or "content filter"
        elif request.schema:
            answer = bare_json(text, request)
            text, repaired = answer.text, answer.repairs
        usage, more = _usage(completion.usage), choice.message.model_extra or {}
        reasoned = any(more.get(name) for name in REASONING) or bool(plain(usage.raw.get("completion_tokens_details")).get("reasoning_tokens"))
        thought = reasoned or bool(choice.message.refusal) or any(more.get(name) for name in THOUGHTS)
        written = all_written(choice.message.content or "", usage, thought)
        if written is None:
            self._thinks = True  # it may think again, and then unseen
        elif self._thinks is None and written and not usage.estimated:
            self._thinks = False
        counted, stated = written if self._thinks is False else None, [completion.model, completion.system_fingerprint]
        reported = " ".join(name for name in stated if isinstance(name, str))
        return Reply(text, finish, usage, allowances(response.headers, LIMIT_HEADERS), completion.id, counted, repaired, reported, reasoned)


def plain_messages(request: ChatRequest) -> list[Any]:
    """Return system prompt and history in a form that every chat template takes: the sides alternate, and the system prompt describes the answer's form.

    The texts are normalized to NFC, as in the training.
    """
    system = [request.system] if request.system else []
    if request.schema:
        system.append(load_shared("answer_in_json").render(schema=json.dumps(request.schema, ensure_ascii=False)))
    messages: list[Any] = [{"role": "system", "content": "\n\n".join(system)}] if system else []
    messages += [{"role": message.role, "content": message.content} for message in alternating(request.messages)]
    return [message | {"content": normalize("NFC", message["content"])} for message in messages]


def _usage(reported: Any) -> Usage:
    used = plain(reported)
    details, read, written = plain(used.get("prompt_tokens_details")), used.get("prompt_tokens"), used.get("completion_tokens")
    counted = read_usage(read, written, details.get("cached_tokens"), details.get("cache_write_tokens"), reported)
    # some servers count thoughts only in the total (https://docs.x.ai/docs/guides/reasoning)
    with_thoughts = read_usage(read, used.get("total_tokens"))
    hidden = max(0, with_thoughts.output_tokens - counted.input_tokens - counted.output_tokens)
    return counted if counted.estimated or with_thoughts.estimated else replace(counted, output_tokens=counted.output_tokens + hidden)
