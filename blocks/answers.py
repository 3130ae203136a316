"""Providers' answers, which are untrusted: their length is bounded, their form is checked, and any failure becomes one of the project's errors.

Every provider sends through `Endpoint.ask` and reads through `Endpoint.read`. The SDK in between only sends. Its parser is not used, because it raises
arbitrary exceptions for a malformed answer.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
import httpx2
from pydantic import BaseModel, ValidationError

from blocks.connections import MAX_BYTES
from blocks.http import BASE_BYTES, BYTES_PER_TOKEN, causes, never_sent, quoted, unreachable
from core.errors import MalformedError, ModelTimeoutError, SettingsError, UnderstudyError
from core.llm.chat import ChatRequest

MAX_FOREIGN_ANSWERS = 3
"""Conversations that received an answer in a foreign form before the address counts as wrong, provided that the API has never answered."""

Form = TypeVar("Form", bound=BaseModel)
Sent = TypeVar("Sent")


@dataclass
class Endpoint:
    """The server that answers a model's calls.

    Args:
        reference: the model's reference, such as `openai/NAME`.
        where: the server's address.
        api: name of the API that is expected there.
        answered: whether the API has answered at least once.
        foreign: conversations that received an answer that is not the API's.
    """

    reference: str
    where: str
    api: str
    answered: bool = False
    foreign: set[str] = field(default_factory=set)

    async def ask(self, request: ChatRequest, sending: Awaitable[Sent], refused: Callable[[Exception], UnderstudyError | None]) -> Sent:
        """Await the SDK's call, and return its response.

        Args:
            sending: the SDK's call, which sends the request.
            refused: converts the SDK's error for an HTTP status to one of the project's errors; returns None for any other error.

        Raises:
            ModelError, RunStoppedError, SettingsError: the provider refused the request, or the connection failed.
        """
        bound = MAX_BYTES.set(BASE_BYTES + BYTES_PER_TOKEN * request.max_tokens)
        try:
            return await sending
        except Exception as error:  # SDKs raise arbitrary exceptions
            raise refused(error) or self._failed(request, error) from error
        finally:
            MAX_BYTES.reset(bound)

    def read(self, request: ChatRequest, body: bytes | str, form: type[Form]) -> Form:
        """Read an answer.

        Raises:
            MalformedError: the answer does not have the API's form.
            SettingsError: so far no answer from this address has had it, in several conversations.
        """
        try:
            answer = form.model_validate_json(body)
        except ValidationError as invalid:
            raise self.malformed(request, _first(invalid)) from invalid
        self.answered = True
        return answer

    def malformed(self, request: ChatRequest, reason: str) -> MalformedError | SettingsError:
        """Return the error for an answer that is not the API's. It costs one item; if the API has never answered, the third one stops the run."""
        if self.answered:
            return MalformedError(f"{self.reference}: the response from {self.where} is not an answer of {self.api} ({reason}).")
        self.foreign.add(f"{request.item} {request.role}")
        if len(self.foreign) >= MAX_FOREIGN_ANSWERS:
            return SettingsError(f"{self.reference}: the server at {self.where} does not provide {self.api} ({reason}). Check the base URL.")
        return MalformedError(f"{self.reference}: the response from {self.where} is not an answer of {self.api} ({reason}). Check the base URL.")

    def nothing_there(self) -> SettingsError | MalformedError:
        """Return the error for an address at which the API is not found, or is no longer found."""
        if self.answered:
            return MalformedError(f"{self.reference}: the response from {self.where} is not an answer of {self.api}.")
        return SettingsError(f"{self.reference}: the server at {self.where} does not provide {self.api}. Check the base URL.")

    def _failed(self, request: ChatRequest, error: Exception) -> UnderstudyError:
        unmade = never_sent(error)
        for cause in causes(error):
            if isinstance(cause, SettingsError):
                return cause
            if isinstance(cause, MalformedError):
                return self.malformed(request, str(cause))
            if isinstance(cause, httpx2.DecodingError):
                return self.malformed(request, f"its {quoted(str(cause)) or 'encoding'} cannot be decoded")
            if isinstance(cause, aiohttp.ClientResponseError) and not unmade:
                return self.malformed(request, quoted(cause.message))
            if isinstance(cause, TimeoutError) and not unmade:
                return ModelTimeoutError(f"{self.reference} did not answer in time.")
        if any(isinstance(cause, aiohttp.ClientError | OSError) for cause in causes(error)):
            return unreachable(self.reference, self.where, error)
        return self.malformed(request, f"{type(error).__name__}: {quoted(str(error))}"[:200])


def _first(invalid: ValidationError) -> str:
    """Return the first violation, without the invalid value, which may be of any length."""
    violation, *_ = invalid.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in violation["loc"])
    return quoted(f"{where}: {violation['msg']}" if where else str(violation["msg"]))
