"""The vendors' own clients behind one way of asking: how the stub is tested."""

import asyncio
from functools import cached_property
from typing import Any, Literal

import anthropic
import httpx2
import openai
from google import genai
from google.genai import errors
from google.genai import types as google_types
from openai.lib._pydantic import to_strict_json_schema
from pydantic import BaseModel

MODELS = {"anthropic": "claude-haiku-5-5", "responses": "gpt-6-luna", "chat": "gpt-6-luna", "google": "gemini-3.8-flash"}


class Verdict(BaseModel):
    """What a judge says on one criterion."""

    criterion: Literal["warmth", "honesty", "pace"]
    reasoning: str
    answer: Literal["YES", "NO", "NA"]
    cited: list[int]


class Judgement(BaseModel):
    """An answer with all that our own schemas have."""

    message: str
    verdicts: list[Verdict]
    done: bool


class Clients:
    """The vendors' clients, each made when it is needed; a question is one request."""

    def __init__(self, url: str, key: str) -> None:
        self.url, self.key = url, key
        self.http = httpx2.AsyncClient(timeout=5, trust_env=False, verify=False)

    @cached_property
    def anthropic(self) -> anthropic.AsyncAnthropic:
        """Anthropic's client."""
        return anthropic.AsyncAnthropic(api_key=self.key, base_url=self.url, max_retries=0, http_client=self.http, timeout=5)

    @cached_property
    def openai(self) -> openai.AsyncOpenAI:
        """OpenAI's client."""
        return openai.AsyncOpenAI(api_key=self.key, base_url=f"{self.url}/v1", max_retries=0, http_client=self.http, timeout=5)

    @cached_property
    def google(self) -> genai.Client:
        """Google's client."""
        once = google_types.HttpRetryOptions(attempts=1)
        options = google_types.HttpOptions(base_url=f"{self.url}/g", timeout=5000, retry_options=once, httpx_async_client=self.http)
        return genai.Client(api_key=self.key, http_options=options)

    async def close(self) -> None:
        """Close all connections."""
        await self.http.aclose()
        if "google" in self.__dict__:
            self.google.close()

    async def ask(self, protocol: str, *messages: str, system: str = "Be kind.", schema: Any = None, most: int = 2000, **extra: Any) -> Any:
        """Send messages, the user's first, and return the client's own object.

        Args:
            protocol: its name.
            messages: in turn the user's and the assistant's.
            system: instructions.
            schema: a pydantic model.
            most: tokens of output.
            extra: goes to the client as it is.
        """
        roles = [("user", "assistant")[index % 2] for index in range(len(messages))]
        turns: Any = [{"role": role, "content": text} for role, text in zip(roles, messages, strict=True)]
        given: dict[str, Any] = {"model": MODELS[protocol]}
        strict = {"name": "answer", "strict": True, "schema": to_strict_json_schema(schema)} if schema else {}
        match protocol:
            case "anthropic":
                given |= {"max_tokens": most, "system": system, "messages": turns}
                given |= {"output_config": {"format": {"type": "json_schema", "schema": anthropic.transform_schema(schema)}}} if schema else {}
                return await self.anthropic.messages.create(**given | extra)
            case "responses":
                given |= {"input": turns, "instructions": system, "max_output_tokens": most}
                given |= {"text": {"format": {"type": "json_schema", **strict}}} if schema else {}
                return await self.openai.responses.create(**given | extra)
            case "chat":
                given |= {"messages": [{"role": "system", "content": system}, *turns], "max_completion_tokens": most}
                given |= {"response_format": {"type": "json_schema", "json_schema": strict}} if schema else {}
                return await self.openai.chat.completions.create(**given | extra)
        form = {"response_mime_type": "application/json", "response_json_schema": schema.model_json_schema()} if schema else {}
        given["config"] = {"system_instruction": system, "max_output_tokens": most, "automatic_continuation": False, **form}
        given["contents"] = [{"role": turn["role"].replace("assistant", "model"), "parts": [{"text": turn["content"]}]} for turn in turns]
        return await self.google.aio.models.generate_content(**given | extra)

    async def refusal(self, protocol: str, *messages: str, **extra: Any) -> Any:
        """Return the error with which a question is refused.

        Args:
            protocol: its name.
            messages: as for `ask`; one greeting if none.
            extra: as for `ask`.
        """
        try:
            said = await self.ask(protocol, *(messages or ("Hello.",)), **extra)
        except (anthropic.APIStatusError, openai.APIStatusError, errors.APIError) as problem:
            return problem
        raise AssertionError(f"Not refused, but answered with {said!r}.")

    async def outcomes(self, protocol: str, count: int) -> list[int]:
        """Ask several times at once and return the statuses in their order.

        Args:
            protocol: its name.
            count: how many times.
        """
        said = await asyncio.gather(*(self.ask(protocol, f"Hello {number}.") for number in range(count)), return_exceptions=True)
        return sorted(status_of(one) if isinstance(one, BaseException) else 200 for one in said)


def text_of(protocol: str, said: Any) -> str:
    """Return the text of an answer; empty if it has none.

    Args:
        protocol: its name.
        said: the client's own object.
    """
    match protocol:
        case "anthropic":
            return next((block.text for block in said.content if block.type == "text"), "")
        case "responses":
            return said.output_text
        case "chat":
            return said.choices[0].message.content or ""
    return said.text or ""


def status_of(problem: BaseException) -> int:
    """Return the HTTP status of a client's error; 0 if it has none.

    Args:
        problem: as it was raised.
    """
    return getattr(problem, "status_code", getattr(problem, "code", 0))
