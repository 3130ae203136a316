"""Google's models, through the Gemini API (generateContent)."""

import os
from typing import Any, Literal

import httpx2
from google import genai
from google.genai import errors, types
from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr, ValidationError

from blocks.http import alternating, clean_key, http_client, no_api, seconds_to_wait, status_error, unreachable
from core.addresses import Address, given_address
from core.chat import Allowance, ChatRequest, LimitKind, Reply
from core.errors import ModelTimeoutError, SettingsError, UnderstudyError
from core.usage_bounds import read_usage, total

ADDRESS = "https://generativelanguage.googleapis.com"
API = "Google's Gemini API"
DECLINED = ("SAFETY", "RECITATION", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII", "LANGUAGE", "ESCALATION", "PUP_LIMITED_DISABLED", "MODEL_ARMOR")


class Google(CredentialsBlock):
    """A model of Google's.

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
            SettingsError: there is no key, or what is given is none.
        """
        given = self.api_key.get_secret_value() or os.environ.get("GEMINI_API_KEY") or os.environ.get("GOOGLE_API_KEY")
        key = clean_key(given, f"google/{self.model}")
        if not key:
            raise SettingsError(f"No key for google/{self.model}. Set the environment variable GEMINI_API_KEY, or name a saved block that has one.")
        return GoogleChat(self, key)


class GoogleChat:
    """A model of Google's: one request, one call, nothing retried."""

    caveat = None

    def __init__(self, block: Google, key: str) -> None:
        """Make the client, which is shared by all calls."""
        self._answered = False
        self.reference = f"google/{block.model}"
        address = given_address(block.base_url, "GOOGLE_GEMINI_BASE_URL")
        self._model, self._where = block.model, address or ADDRESS
        options = types.HttpOptions(base_url=address, api_version="v1", retry_options=types.HttpRetryOptions(attempts=1), httpx_async_client=http_client())
        self._models = genai.Client(api_key=key, http_options=options).aio.models
        self._options: dict[str, Any] = {"automatic_continuation": False}  # else one call could become several
        self._options |= {"thinking_config": types.ThinkingConfig(thinking_level=types.ThinkingLevel(block.thinking))} if block.thinking else {}
        self._options |= {"temperature": block.temperature} if block.temperature is not None else {}

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError, RunStoppedError: what the API said instead.
        """
        options: dict[str, Any] = self._options | {"max_output_tokens": request.max_tokens, "seed": request.seed % 2**31}
        options |= {"system_instruction": request.system} if request.system else {}
        options |= {"response_mime_type": "application/json", "response_json_schema": dict(request.schema)} if request.schema else {}
        contents = [
            types.Content(role="model" if message.role == "assistant" else "user", parts=[types.Part(text=message.content)])
            for message in alternating(request.messages)
        ]
        try:
            response = await self._models.generate_content(model=self._model, contents=contents, config=types.GenerateContentConfig(**options))
        except (errors.APIError, httpx2.HTTPError, TimeoutError) as error:
            raise self._explained(error) from error
        except (ValueError, ValidationError) as error:
            raise no_api(self.reference, self._where, API, self._answered) from error
        if response.usage_metadata is None and not response.candidates and response.prompt_feedback is None:
            raise no_api(self.reference, self._where, API, self._answered)
        self._answered = True
        return _reply(response)

    def _explained(self, error: Exception) -> UnderstudyError:
        if isinstance(error, (TimeoutError, httpx2.TimeoutException)) and not isinstance(error, httpx2.ConnectTimeout):
            return ModelTimeoutError(f"{self.reference} gave no answer in time.")
        if not isinstance(error, errors.APIError):
            return unreachable(self.reference, self._where, error)
        body = error.details if isinstance(error.details, dict) else {}
        if error.code == 404 and "error" not in body:
            return no_api(self.reference, self._where, API, self._answered)
        told = _details(body)
        headers = getattr(error.response, "headers", None) or {}
        wait, limits, daily = _retry_delay(told) or seconds_to_wait(headers), _violated(told), _is_daily(told)
        status = 401 if "API key not valid" in str(error.message) or "API_KEY_INVALID" in str(told) else error.code  # the API answers 400 for a wrong key
        return status_error(self.reference, status, str(error.message or error.status or error), wait, limits, spent=daily)


def _reply(response: types.GenerateContentResponse) -> Reply:
    used = response.usage_metadata or types.GenerateContentResponseUsageMetadata()
    prompt = total(used.prompt_token_count, used.tool_use_prompt_token_count)
    written = total(0, used.candidates_token_count, used.thoughts_token_count)  # what is zero is left out
    counted = read_usage(prompt, written, used.cached_content_token_count, None, used.model_dump(mode="json", exclude_none=True))
    finish: Literal["stop", "length", "refusal"] = "stop"
    if not response.candidates:
        reason = response.prompt_feedback.block_reason if response.prompt_feedback else None
        return Reply(reason.value if reason else "no candidate", "refusal", counted, request_id=response.response_id)
    candidate = response.candidates[0]
    parts = candidate.content.parts if candidate.content and candidate.content.parts else []
    text = "".join(part.text for part in parts if part.text and not part.thought)
    ended = candidate.finish_reason.value if candidate.finish_reason else "STOP"
    if ended in ("MAX_TOKENS", "CONTINUATION"):
        finish = "length"
    elif ended in DECLINED:
        finish, text = "refusal", ended
    return Reply(text, finish, counted, request_id=response.response_id)


def _details(body: dict[str, Any]) -> list[dict[str, Any]]:
    inner = body.get("error", body)
    return [item for item in inner.get("details", []) if isinstance(item, dict)] if isinstance(inner, dict) else []


def _retry_delay(details: list[dict[str, Any]]) -> float | None:
    for item in details:
        if str(item.get("@type", "")).endswith("RetryInfo"):
            try:
                return float(str(item.get("retryDelay", "")).removesuffix("s"))
            except ValueError:
                return None
    return None


def _violations(details: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [violation for item in details if str(item.get("@type", "")).endswith("QuotaFailure") for violation in item.get("violations", [])]


def _is_daily(details: list[dict[str, Any]]) -> bool:
    return any("PerDay" in str(violation.get("quotaId", "")) for violation in _violations(details))


def _violated(details: list[dict[str, Any]]) -> tuple[Allowance, ...]:
    """Read the limit that was hit; the API tells limits in no other way."""
    kinds: list[tuple[str, LimitKind]] = [("InputTokens", "input_tokens"), ("OutputTokens", "output_tokens"), ("Requests", "requests")]
    found = []
    for violation in _violations(details):
        name, value = str(violation.get("quotaId", "")), str(violation.get("quotaValue", ""))
        kind = next((kind for part, kind in kinds if part in name), None)
        if kind and "PerMinute" in name and value.isdigit():
            found.append(Allowance(kind, limit=float(value)))
    return tuple(found)
