"""The types that all protocols share."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tests.stub.cache import Plan, tokens_of
from tests.stub.limits import State
from tests.stub.settings import Settings

Json = dict[str, Any]
Finish = Literal["stop", "length", "refusal"]


@dataclass(slots=True)
class Request:
    """A request as it arrived."""

    method: str
    path: str
    query: str
    headers: dict[str, str]
    body: bytes


@dataclass(slots=True)
class Call:
    """What a request asks for."""

    model: str
    texts: list[str]
    """All that is counted as input."""
    plan: Plan
    schema: Json | None = None
    max_tokens: int | None = None
    stream: bool = False
    writes: bool = True
    """Whether an answer is wanted; a call that only warms the cache wants none."""
    tool: str | None = None
    """The tool through which the answer is to go."""
    tokens: int = field(init=False)

    def __post_init__(self) -> None:
        self.tokens = sum(map(tokens_of, self.texts))


@dataclass(slots=True)
class Answer:
    """What is answered, before it has a protocol's shape."""

    text: str
    finish: Finish = "stop"
    variant: str | None = None
    """Which of a provider's ways to refuse."""
    stop_value: str | None = None
    """Stands in for the provider's stop reason."""


@dataclass(slots=True)
class Usage:
    """What a call used, in tokens."""

    input: int
    read: int
    written: int
    written_long: int
    output: int
    """All that is billed as output, thoughts included."""
    thought: int = 0

    @property
    def fresh(self) -> int:
        """Input that was neither read from the cache nor written to it."""
        return self.input - self.read - self.written


class ApiError(Exception):
    """An error as a provider reports it."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str | None = None,
        code: str | None = None,
        param: str | None = None,
        details: Any = None,
        headers: Json | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.message, self.kind, self.code, self.param, self.details = status, message, kind, code, param, details
        self.headers: dict[str, str] = {name.lower(): str(value) for name, value in (headers or {}).items()}


@dataclass(frozen=True, slots=True)
class Wire:
    """A protocol."""

    name: str
    account: str
    """What its limits are counted under; two protocols of one provider share them."""
    key_header: str
    """Where the key stands, if not in `authorization`."""
    read: Callable[[Request, Json, Settings], Call]
    """Checks a request and says what it asks for; an ApiError if the provider would refuse it."""
    answer: Callable[[Call, Answer, Usage, str], Json]
    refuse: Callable[..., ApiError]
    """The provider's error for a reason that all providers have; keyword arguments are facts for the message."""
    error: Callable[[ApiError, str], Json]
    limit_headers: Callable[[Iterable[State], float], dict[str, str]]
    id_header: str
    cached_input_counts: bool = True
    """Whether what is read from the cache counts towards the input limit."""
    thinks: bool = True
    """Whether the setting `thought_tokens` is for it."""


def key_of(wire: Wire, request: Request) -> str:
    """Return the key that a request carries; empty if none."""
    return request.headers.get(wire.key_header, "") or request.headers.get("authorization", "").removeprefix("Bearer ").strip()


def objects_in(schema: Any, where: Sequence[str] = ()) -> Iterable[tuple[Sequence[str], Json]]:
    """Yield every schema within a schema, each with the path to it.

    Args:
        schema: a JSON schema.
        where: the path so far.
    """
    if not isinstance(schema, dict):
        return
    yield where, schema
    for name in ("properties", "$defs", "definitions"):
        for key, inner in (schema.get(name) or {}).items():
            yield from objects_in(inner, (*where, name, key))
    if "items" in schema:
        yield from objects_in(schema["items"], (*where, "items"))
    for name in ("anyOf", "oneOf", "allOf"):
        for index, inner in enumerate(schema.get(name) or ()):
            yield from objects_in(inner, (*where, name, str(index)))
