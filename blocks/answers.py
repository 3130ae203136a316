"""What comes back from a provider is a stranger's: read within bounds, checked against a form, and what goes wrong on the way is the provider's error.

Every provider sends through `Endpoint.ask` and reads through `Endpoint.read`. Between the two stands an SDK, whose own reading is not used: it raises
whatever it stumbles over.
"""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

import aiohttp
import httpx2
from pydantic import BaseModel, ValidationError

from blocks.connections import MOST_BYTES
from blocks.http import BASE_BYTES, BYTES_PER_TOKEN, causes, never_sent, quoted, unreachable
from core.errors import MalformedError, ModelTimeoutError, SettingsError, UnderstudyError
from core.llm.chat import ChatRequest

STRANGERS = 3
"""Conversations to each of which something else has answered, and the API to none, after which the address is held to be a wrong one."""

Form = TypeVar("Form", bound=BaseModel)
Sent = TypeVar("Sent")


@dataclass
class Endpoint:
    """The other end of a model's calls.

    Args:
        reference: of the model.
        where: its address; api: what is expected there.
        answered: whether the API has answered once.
        strangers: conversations to which something else answered instead.
    """

    reference: str
    where: str
    api: str
    answered: bool = False
    strangers: set[str] = field(default_factory=set)

    async def ask(self, request: ChatRequest, sending: Awaitable[Sent], refused: Callable[[Exception], UnderstudyError | None]) -> Sent:
        """Await what an SDK sends.

        Args:
            refused: turns an SDK's error for a status into ours; none for any other error.

        Raises:
            ModelError, RunStoppedError, SettingsError: what the provider, or the way to it, made of the request.
        """
        bound = MOST_BYTES.set(BASE_BYTES + BYTES_PER_TOKEN * request.max_tokens)
        try:
            return await sending
        except Exception as error:  # an SDK raises whatever it stumbles over
            raise refused(error) or self._failed(request, error) from error
        finally:
            MOST_BYTES.reset(bound)

    def read(self, request: ChatRequest, body: bytes | str, form: type[Form]) -> Form:
        """Read an answer.

        Raises:
            MalformedError: it has not the API's form.
            SettingsError: nothing at the address ever had.
        """
        try:
            answer = form.model_validate_json(body)
        except ValidationError as invalid:
            raise self.malformed(request, _first(invalid)) from invalid
        self.answered = True
        return answer

    def malformed(self, request: ChatRequest, reason: str) -> MalformedError | SettingsError:
        """Return the error for an answer that is not the API's: one item's, unless the API has answered nobody yet."""
        if self.answered:
            return MalformedError(f"{self.reference}: the response from {self.where} is not an answer of {self.api} ({reason}).")
        self.strangers.add(f"{request.item} {request.role}")
        if len(self.strangers) >= STRANGERS:
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
                return self.malformed(request, f"its {quoted(str(cause)) or 'encoding'} cannot be undone")
            if isinstance(cause, aiohttp.ClientResponseError) and not unmade:
                return self.malformed(request, quoted(cause.message))
            if isinstance(cause, TimeoutError) and not unmade:
                return ModelTimeoutError(f"{self.reference} did not answer in time.")
        if any(isinstance(cause, aiohttp.ClientError | OSError) for cause in causes(error)):
            return unreachable(self.reference, self.where, error)
        return self.malformed(request, f"{type(error).__name__}: {quoted(str(error))}"[:200])


def _first(invalid: ValidationError) -> str:
    """Return the first thing that is wrong, without what was found: it may be of any length."""
    found, *_ = invalid.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in found["loc"])
    return quoted(f"{where}: {found['msg']}" if where else str(found["msg"]))
