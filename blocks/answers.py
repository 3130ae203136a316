"""What comes back from a provider is a stranger's: read within bounds, checked against a form, and what goes wrong on the way is the provider's error.

Every provider sends through `Endpoint.ask` and reads through `Endpoint.read`. Between the two stands an SDK, whose own reading is not used: it raises
whatever it stumbles over.
"""

from collections.abc import AsyncGenerator, Awaitable, Callable
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from ssl import SSLContext
from typing import Any, TypeVar

import httpx2
from httpx_aiohttp.httpx2 import Httpx2AiohttpClient
from pydantic import BaseModel, ValidationError

from blocks.http import BASE_BYTES, BYTES_PER_TOKEN, causes, never_sent, quoted, unreachable
from core.errors import MalformedError, ModelTimeoutError, SettingsError, UnderstudyError
from core.llm.chat import ChatRequest

CONNECT_SECONDS = 10

NO_LIMIT = 0
"""Of connections, as aiohttp writes it; how many calls are made at once is decided before (`core/llm/limiter.py`)."""

STRANGERS = 3
"""Conversations to each of which something else has answered, and the API to none, after which the address is held to be a wrong one."""

Form = TypeVar("Form", bound=BaseModel)
Sent = TypeVar("Sent")

_MOST_BYTES: ContextVar[int] = ContextVar("most_bytes", default=BASE_BYTES)

_OPEN: "dict[BoundedClient, AsyncGenerator[None]]" = {}
"""Clients that have connections. asyncio closes the generators of a loop before it closes the loop."""


class BoundedClient(Httpx2AiohttpClient):
    """A client that reads so much of an answer and no more, and that closes its connections when its event loop ends."""

    async def send(self, request: httpx2.Request, *, stream: bool = False, **options: Any) -> httpx2.Response:
        """Send a request and read its answer.

        Raises:
            MalformedError: the answer is longer than any to the request can be.
        """
        if self not in _OPEN:
            _OPEN[self] = self._until_loop_ends()
            await anext(_OPEN[self])
        response = await super().send(request, stream=True, **options)
        if stream:
            return response
        most, held = _MOST_BYTES.get(), bytearray()
        try:
            async for piece in response.aiter_bytes():
                held += piece
                if len(held) > most:
                    raise MalformedError(f"the answer has more than {most:,} bytes, the most that this request allows")
        finally:
            await response.aclose()
        response._content = bytes(held)  # as `aread` does
        return response

    async def _until_loop_ends(self) -> AsyncGenerator[None]:
        try:
            yield
        finally:
            del _OPEN[self]
            await self.aclose()


def http_client() -> httpx2.AsyncClient:
    """Return a client with room for many calls; the deadline of a call is set around it (`core/llm/calls.py`).

    Answers are asked for uncompressed: a kilobyte that is unpacked can be a megabyte.
    """
    limits, timeout = httpx2.Limits(max_connections=NO_LIMIT), httpx2.Timeout(None, connect=CONNECT_SECONDS)
    return BoundedClient(limits=limits, timeout=timeout, verify=_trusted(), headers={"accept-encoding": "identity"})


@cache
def _trusted() -> SSLContext:
    """Return what connections trust: the authorities are read once, not for each client."""
    return httpx2.create_ssl_context()


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
        bound = _MOST_BYTES.set(BASE_BYTES + BYTES_PER_TOKEN * request.max_tokens)
        try:
            return await sending
        except Exception as error:  # an SDK raises whatever it stumbles over
            raise refused(error) or self._failed(request, error) from error
        finally:
            _MOST_BYTES.reset(bound)

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
        for cause in causes(error):
            if isinstance(cause, MalformedError):
                return self.malformed(request, str(cause))
            if isinstance(cause, httpx2.DecodingError):
                return self.malformed(request, f"its {quoted(str(cause)) or 'encoding'} cannot be undone")
        # not httpx2's timeouts: httpx-aiohttp makes one of every connection that is lost
        if any(isinstance(cause, TimeoutError) for cause in causes(error)) and not never_sent(error):
            return ModelTimeoutError(f"{self.reference} did not answer in time.")
        if any(isinstance(cause, httpx2.TransportError | OSError) for cause in causes(error)):
            return unreachable(self.reference, self.where, error)
        return self.malformed(request, f"{type(error).__name__}: {quoted(str(error))}"[:200])


def _first(invalid: ValidationError) -> str:
    """Return the first thing that is wrong, without what was found: it may be of any length."""
    found, *_ = invalid.errors(include_url=False, include_input=False, include_context=False)
    where = ".".join(str(part) for part in found["loc"])
    return quoted(f"{where}: {found['msg']}" if where else str(found["msg"]))
