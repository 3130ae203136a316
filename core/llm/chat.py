"""The one interface to a language model: a request, a reply, and `ChatModel`, which answers the one with the other."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.records import LimitKind, RoleName, Side


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
        volatile: how many of the last messages will not be sent again, so that no cache entry is paid for them.
        item: id of the transcript that the call is for; with the role, it also names the provider's cache entry.
        check: raises `InvalidOutputError` or `TruncatedError` for a reply that cannot be used, so that it is asked for again.
        refused: how many answers the check refused before the run was stopped; they count as attempts.
        inputs: what the prompts were rendered with. Never sent; the scripted provider reads it instead of the prose.
    """

    role: RoleName
    system: str
    messages: tuple[Message, ...]
    max_tokens: int
    seed: int
    schema: Mapping[str, Any] | None = None
    volatile: int = 0
    item: str = ""
    check: Callable[["Reply"], object] | None = None
    refused: int = 0
    inputs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Usage:
    """Tokens of one call, as the provider counts them.

    Args:
        input_tokens: the whole prompt, whether cached or not.
        output_tokens: reasoning included.
        cache_read_tokens, cache_write_tokens: parts of the prompt that came from the provider's cache or were put there.
        raw: what the provider said, as it said it.
        estimated: whether the provider's count is missing or cannot be true (`core/llm/usage_bounds.py`).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict)
    estimated: bool = False


@dataclass(frozen=True)
class Allowance:
    """What a provider says of one of its limits per minute (`tokens`: input and output together).

    Args:
        remaining: how much of it is left; reset: seconds until the limit is full again.
    """

    kind: LimitKind
    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    Args:
        finish: `stop` if the model ended by itself, `length` if it reached max_tokens, `refusal` if it declined.
        allowances: the limits that came with it.
        request_id: the provider's name for the call.
        written: bytes (UTF-8) of all that the model wrote; none where it may have written what is not in the answer, such as thoughts.
        repaired: what was taken off a structured answer before it stood in `text`.
        reported: the version of the model, as the provider states it.
        thought: whether it thought before it answered; thoughts are no part of `text`.
    """

    text: str
    finish: Literal["stop", "length", "refusal"]
    usage: Usage
    allowances: tuple[Allowance, ...] = ()
    request_id: str | None = None
    written: int | None = None
    repaired: tuple[str, ...] = ()
    reported: str | None = None
    thought: bool = False


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
            RunStoppedError: there is no use in asking again now.
        """
        ...
