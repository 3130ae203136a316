"""Settings of models: limits, prices, options, retries and the budget."""

from typing import Annotated

from pydantic import Field, model_validator

from core.quantities import Amount, Count, Seconds, Tokens
from core.records import LimitKind
from core.yaml_files import Strict

Option = bool | int | float | str


class Price(Strict):
    """USD per million tokens, for a model that the price data lacks."""

    input: Amount
    """Prompt tokens; answer tokens, including thinking."""
    output: Amount
    """Prompt tokens; answer tokens, including thinking."""
    cache_read: Amount | None = None
    """Prompt tokens read from the provider's cache (default: the price of input) and written to it
    (default: 1.25 times that)."""
    cache_write: Amount | None = None
    """Prompt tokens read from the provider's cache (default: the price of input) and written to it
    (default: 1.25 times that)."""


class ModelSettings(Strict):
    """Limits, price and options of a model. An unset limit is read from the provider's headers or found by trial."""

    concurrency: Count | None = None
    """Parallel calls."""
    requests_per_minute: Tokens | None = None
    """The account's limits."""
    input_tokens_per_minute: Tokens | None = None
    """The account's limits."""
    output_tokens_per_minute: Tokens | None = None
    """The account's limits."""
    tokens_per_minute: Tokens | None = None
    """Input and output together, if the provider limits the sum."""
    context: Tokens | None = None
    """Maximum tokens of prompt and answer together, if the price data does not state it."""
    runs_at_once: Count = 1
    """Number of runs that may use the model at the same time; each gets an equal share of the
    limits."""
    price: Price | None = None
    """Replaces the price data."""
    options: dict[str, Option] = Field(default_factory=dict)
    """Options of the provider, such as effort, temperature or base_url."""

    def per_minute(self) -> dict[LimitKind, float]:
        """Return one run's share of the known limits."""
        limits: dict[LimitKind, int | None] = {
            "requests": self.requests_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
            "tokens": self.tokens_per_minute,
        }
        return {kind: limit / self.runs_at_once for kind, limit in limits.items() if limit}

    def share_of_concurrency(self) -> int:
        """Return the number of calls that one run may have under way."""
        return max(1, (self.concurrency or 1) // self.runs_at_once)


class Calls(Strict):
    """Timeouts and retries of calls, and when an outage ends the run."""

    concurrency: Count = 8
    """Parallel calls of a model, unless `models` sets another number."""
    timeout_seconds: Seconds = 300
    """Time limit of one attempt."""
    attempts: Count = 5
    """Attempts per call; only temporary failures are counted."""
    total_seconds: Seconds = 600
    """Time limit for the retries of a call, from its first failure."""
    first_backoff_seconds: Seconds = 0.5
    """First and longest pause after a failure; the pause doubles each time."""
    longest_backoff_seconds: Seconds = 20
    """First and longest pause after a failure; the pause doubles each time."""
    longest_wait_seconds: Seconds = 120
    """The run ends if a provider asks for a longer wait, or if a single call would use up a limit
    for longer."""
    outage_seconds: Seconds = 120
    """The run ends after only failures for this time."""
    unusable_answers: Count = 4
    """Number of invalid answers (truncated, wrong format, rejected by a guard) after which the call
    fails."""

    @model_validator(mode="after")
    def _ordered(self) -> "Calls":
        if self.first_backoff_seconds > self.longest_backoff_seconds:
            raise ValueError(f"first_backoff_seconds is {self.first_backoff_seconds:g}, longer than longest_backoff_seconds, {self.longest_backoff_seconds:g}")
        return self


class Budget(Strict):
    """Spending limit of one run over all its processes, checked before each call. Repeating the command continues with the same budget."""

    usd: Amount | None = None
    """No call is sent whose maximum cost would exceed it."""
    tokens: Annotated[int, Field(strict=True, ge=0, le=10**13)] | None = None
    """Input and output tokens together."""
