"""The one interface to a language model: a request, a reply, and a thing that turns the one into the other."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.errors import SettingsError

Side = Literal["user", "assistant"]
RoleName = Literal["user_simulator", "assistant", "judge"]


@dataclass(frozen=True)
class Message:
    """One message, from the point of view of the model that is asked: `assistant` is what it said itself."""

    role: Side
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """What a model is asked.

    Args:
        role: the part that the model plays.
        system: stable instructions, the same for a whole conversation so that providers' prompt caches hit.
        messages: the history and, last, what is new.
        max_tokens: room for the answer.
        seed: forwarded where a provider takes one; the scripted provider draws everything from it.
        schema: JSON schema of the answer; none asks for plain text.
        inputs: what the prompts were rendered with. Never sent; the scripted provider reads it instead of the prose.
    """

    role: RoleName
    system: str
    messages: tuple[Message, ...]
    max_tokens: int
    seed: int
    schema: Mapping[str, Any] | None = None
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, as the provider counts them."""

    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    Args:
        finish: `stop` where the model ended by itself, `length` where it ran out of room.
    """

    text: str
    finish: Literal["stop", "length"]
    usage: Usage


class ChatModel(Protocol):
    """Something that answers."""

    @property
    def reference(self) -> str:
        """`provider/model`, as it is written into every record."""
        ...

    @property
    def caveat(self) -> str | None:
        """What a reader must know before believing its answers; none for a real model."""
        ...

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError: no usable answer came.
        """
        ...


def split_reference(reference: str, providers: tuple[str, ...]) -> tuple[str, str]:
    """Split `provider/model` at its first slash.

    Raises:
        SettingsError: there is no slash, no model, or no such provider.
    """
    provider, _, model = reference.partition("/")
    if provider not in providers or not model:
        raise SettingsError(f"Unknown model reference {reference!r}. Allowed: provider/model, with a provider of {', '.join(providers)}.")
    return provider, model
