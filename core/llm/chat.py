"""The interface to a language model: a request, a reply, and `ChatModel`, which turns a request into a reply."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from core.records import LimitKind, RoleName, Side


@dataclass(frozen=True)
class Message:
    """One message, from the point of view of the model that is called: `assistant` marks its own messages."""

    role: Side
    content: str


@dataclass(frozen=True)
class ChatRequest:
    """A request to a model.

    Args:
        role: the part that the model plays.
        system: stable instructions, the same throughout a conversation so that providers' prompt caches hit.
        messages: the history, followed by the new message.
        max_tokens: maximum length of the answer in tokens.
        seed: forwarded if the provider accepts one; the scripted provider draws everything from it.
        schema: JSON schema of the answer; None for plain text.
        volatile: number of messages at the end that will not be sent again, so that no cache entry is paid for them.
        item: id of the transcript that the call is for; with the role, it also names the provider's cache entry.
        check: raises `InvalidOutputError` or `TruncatedError` for an unusable reply, which is then requested again; None for no check.
        refused: number of answers that the check rejected before the run was stopped; they count as attempts.
        inputs: values that the prompts were rendered with. Never sent; the scripted provider reads them instead of the prose.
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
        input_tokens: the complete prompt, cached or not.
        output_tokens: the answer, including reasoning.
        cache_read_tokens, cache_write_tokens: parts of the prompt that were read from the provider's cache or written to it.
        raw: the provider's own usage report, unchanged.
        estimated: whether the provider's count is missing or impossible (`core/llm/usage_bounds.py`).
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    raw: Mapping[str, Any] = field(default_factory=dict)
    estimated: bool = False


@dataclass(frozen=True)
class Allowance:
    """A rate limit that a provider reports. Fields that it does not report are None.

    Args:
        kind: the limited quantity; `tokens` is input and output together.
        limit: amount per minute.
        remaining: amount that is left at the moment.
        reset: seconds until the full amount is available again.
    """

    kind: LimitKind
    limit: float | None = None
    remaining: float | None = None
    reset: float | None = None


@dataclass(frozen=True)
class Reply:
    """A model's answer.

    Args:
        text: the answer, without thoughts.
        finish: `stop` if the model ended the answer, `length` if it reached max_tokens, `refusal` if it declined.
        usage: the tokens of the call.
        allowances: the rate limits that the provider reported with the reply.
        request_id: the provider's name for the call; None if it gives none.
        written: size in bytes (UTF-8) of everything that the model wrote; None if that may include text outside the answer, such as thoughts.
        repaired: what was removed or corrected in order to read a structured answer.
        reported: the version of the model, as the provider states it; None if it does not.
        thought: whether the model thought before it answered.
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
    """A language model, or something that answers like one."""

    @property
    def reference(self) -> str:
        """`provider/model`, as it is written into every record."""
        ...

    @property
    def caveat(self) -> str | None:
        """A warning to readers of its answers, such as that they are scripted; None for a real model."""
        ...

    async def complete(self, request: ChatRequest) -> Reply:
        """Answer a request.

        Raises:
            ModelError: no usable answer came.
            RunStoppedError: further calls would fail too.
        """
        ...
