"""Google's models, through the Gemini API (generateContent)."""

import os
from typing import Any, Literal

import httpx2
from google import genai
from google.genai import errors, types
from prefect.blocks.abstract import CredentialsBlock
from pydantic import BaseModel, ConfigDict, Field, HttpUrl, SecretStr
from pydantic.alias_generators import to_camel

from blocks.answers import Endpoint
from blocks.authorities import tls_context
from blocks.connections import http_client
from blocks.google_batches import GoogleBatches
from blocks.http import alternating, as_wait, clean_key, read_number, read_refusal, seconds_to_wait, status_error
from core.errors import SettingsError, UnderstudyError
from core.llm.chat import Allowance, ChatRequest, Reply
from core.llm.usage_bounds import read_usage, total
from core.records import LimitKind
from core.settings.addresses import Address, given_address

ADDRESS = "https://generativelanguage.googleapis.com"
API = "Google's Gemini API"
ONE_CALL: dict[str, Any] = {"automatic_continuation": False, "should_return_http_response": True}
"""Options that keep the SDK from splitting a call into several and from parsing the answer."""
BROKEN_OFF = ("OTHER", "MALFORMED_RESPONSE", "MALFORMED_FUNCTION_CALL", "UNEXPECTED_TOOL_CALL", "TOO_MANY_TOOL_CALLS")
"""Finish reasons of an answer that was cut off."""
DECLINED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "ESCALATION", "PUP_LIMITED_DISABLED", "MODEL_ARMOR")
"""Finish reasons of an answer that was refused."""


class _Form(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)


class _Part(_Form):
    text: str | None = None
    thought: Any = None


class _Content(_Form):
    parts: list[_Part] | None = None


class _Candidate(_Form):
    content: _Content | None = None
    finish_reason: Any = None


class _Answer(_Form):
    """The fields of an answer that are used. If a filter refused the prompt, there is feedback instead of candidates."""

    candidates: list[_Candidate] | None = None
    prompt_feedback: Any = None
    usage_metadata: Any = None
    response_id: Any = None
    model_version: Any = None


class Google(CredentialsBlock):
    """A model by Google.

    Example:
        Load a saved block and get its model:
        ```python
        from blocks.google import Google

        block = Google.load("BLOCK_NAME")
        model = block.get_client()
        ```
    """

    _block_type_name = "Understudy Google Model"
    _block_type_slug = "understudy-google"
    _documentation_url = HttpUrl("https://ai.google.dev/gemini-api/docs")

    model: str = Field(title="Model", description="Name of the model, such as gemini-3.8-flash.")
    api_key: SecretStr = Field(default=SecretStr(""), title="API key", description="Without one, GEMINI_API_KEY or GOOGLE_API_KEY is read.")
    base_url: Address = Field(default="", title="Base URL", description="Another address of the API, without the version.")
    thinking: Literal["MINIMAL", "LOW", "MEDIUM", "HIGH"] | None = Field(default=None, title="Thinking level", description="Thoughts count as output tokens.")
    temperature: float | None = Field(default=None, title="Temperature", description="Without one, the model's own default.", ge=0, le=2)

    def get_client(self) -> "GoogleChat":
        """Return the model.

        Raises:
            SettingsError: there is no key, or it contains characters that keys do not have.
        """
        raw_key = self.api_key.get_secret_value() or os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY")
        key = clean_key(raw_key, f"google/{self.model}")
        if not key:
            raise SettingsError(f"No key for google/{self.model}. Set the environment variable GEMINI_API_KEY, or name a saved block that has one.")
        return GoogleChat(self, key)


class GoogleChat:
    """A client for one model by Google. It makes one call per request and retries nothing."""

    caveat = None

    def __init__(self, block: Google, key: str) -> None:
        """Create the client, which all calls share."""
        self.reference = f"google/{block.model}"
        address = given_address(block.base_url, "GOOGLE_GEMINI_BASE_URL")
        self.model = block.model
        self.endpoint = Endpoint(self.reference, address or ADDRESS, API)
        options = types.HttpOptions(
            base_url=address,
            api_version="v1",
            retry_options=types.HttpRetryOptions(attempts=1),
            httpx_async_client=http_client(),
            client_args={"verify": tls_context()},  # the SDK also prepares a blocking client and one for WebSockets
            async_client_args={"ssl": tls_context()},
        )
        self.client = genai.Client(api_key=key, http_options=options).aio
        self._options: dict[str, Any] = {"thinking_config": types.ThinkingConfig(thinking_level=types.ThinkingLevel(block.thinking))} if block.thinking else {}
        self._options |= {"temperature": block.temperature} if block.temperature is not None else {}

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError, RunStoppedError: the API gave no usable answer.
        """
        contents, options = self.body(request)
        config = types.GenerateContentConfig(**ONE_CALL, **options)
        response = await self.endpoint.ask(request, self.client.models.generate_content(model=self.model, contents=contents, config=config), self.refused)
        body = response.sdk_http_response.body if response.sdk_http_response else None
        return self.read(request, body or "")

    def batches(self) -> GoogleBatches:
        """Return the interface to the model's batches."""
        return GoogleBatches(self)

    def body(self, request: ChatRequest) -> tuple[list[Any], dict[str, Any]]:
        """Return the contents and the options of a request."""
        options: dict[str, Any] = self._options | {"max_output_tokens": request.max_tokens, "seed": request.seed % 2**31}
        options |= {"system_instruction": request.system} if request.system else {}
        options |= {"response_mime_type": "application/json", "response_json_schema": dict(request.schema)} if request.schema else {}
        contents: list[Any] = [
            types.Content(role="model" if message.role == "assistant" else "user", parts=[types.Part(text=message.content)])
            for message in alternating(request.messages)
        ]
        return contents, options

    def read(self, request: ChatRequest, content: bytes | str) -> Reply:
        """Read an answer.

        Raises:
            ModelError: it does not have the API's form.
        """
        answer = self.endpoint.read(request, content, _Answer)
        if not answer.candidates and not isinstance(answer.prompt_feedback, dict):
            raise self.endpoint.malformed(request, "neither candidates nor a promptFeedback")
        return _reply(answer)

    def refused(self, error: Exception) -> UnderstudyError | None:
        """Convert the SDK's error for an HTTP status to one of the project's errors; return None for any other error."""
        if not isinstance(error, errors.APIError) or not isinstance(error.response, httpx2.Response) or error.response.status_code < 400:
            return None
        refusal, status = read_refusal(error.response.content), error.response.status_code
        if status == 404 and "json" not in error.response.headers.get("content-type", ""):
            return self.endpoint.nothing_there()
        details = [item for item in refusal.details if isinstance(item, dict)]
        wait = _retry_delay(details) or seconds_to_wait(error.response.headers)
        status = 401 if "API key not valid" in refusal.message or "API_KEY_INVALID" in str(details) else status  # the API answers 400 for a wrong key
        return status_error(self.reference, status, refusal.message, wait, _violated(details), spent=_is_daily(details))


def _reply(answer: _Answer) -> Reply:
    used = answer.usage_metadata if isinstance(answer.usage_metadata, dict) else {}
    prompt = total(used.get("promptTokenCount"), used.get("toolUsePromptTokenCount"))
    written = total(0, used.get("candidatesTokenCount"), used.get("thoughtsTokenCount"))  # the API omits counts of zero
    counted = read_usage(prompt, written, used.get("cachedContentTokenCount"), None, answer.usage_metadata)
    finish: Literal["stop", "length", "refusal"] = "stop"
    if not answer.candidates:
        return Reply(str(answer.prompt_feedback.get("blockReason") or "no candidate"), "refusal", counted, request_id=answer.response_id)
    candidate = answer.candidates[0]
    parts = candidate.content.parts or [] if candidate.content else []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    if candidate.finish_reason in ("MAX_TOKENS", "CONTINUATION") or (text and candidate.finish_reason in BROKEN_OFF):
        finish = "length"
    elif candidate.finish_reason in DECLINED:
        finish, text = "refusal", candidate.finish_reason
    thought = any(part.thought for part in parts) or bool(used.get("thoughtsTokenCount"))
    return Reply(text, finish, counted, request_id=answer.response_id, reported=answer.model_version, thought=thought)


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    delays = [item.get("retryDelay") for item in details if str(item.get("@type", "")).endswith("RetryInfo")]
    return as_wait(read_number(str(delays[0]).removesuffix("s"))) if delays else None


def _violations(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    violations = [item.get("violations") for item in details if str(item.get("@type", "")).endswith("QuotaFailure")]
    return [violation for several in violations if isinstance(several, list) for violation in several if isinstance(violation, dict)]


def _is_daily(details: list[dict[str, Any]]) -> bool:
    return any("PerDay" in str(violation.get("quotaId", "")) for violation in _violations(details))


def _violated(details: list[dict[str, Any]]) -> tuple[Allowance, ...]:
    """Return the limits that were exceeded. The API reports its limits in no other way."""
    kinds: list[tuple[str, LimitKind]] = [("InputTokens", "input_tokens"), ("OutputTokens", "output_tokens"), ("Requests", "requests")]
    exceeded = []
    for violation in _violations(details):
        name, value = str(violation.get("quotaId", "")), str(violation.get("quotaValue", ""))
        kind = next((kind for part, kind in kinds if part in name), None)
        if kind and "PerMinute" in name and (limit := read_number(value)) is not None and limit >= 1:
            exceeded.append(Allowance(kind, limit=limit))
    return tuple(exceeded)
