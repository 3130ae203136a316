"""Settings of models: limits, prices, options, retries and the budget."""

from typing import Annotated

from pydantic import Field, model_validator

from core.quantities import Amount, Count, Seconds, Tokens
from core.records import LimitKind
from core.yaml_files import Strict

Option = bool | int | float | str


class Price(Strict):
    """USD per million tokens, for a model that the price data lacks.

    Args:
        input, output: prompt tokens; answer tokens, including thinking.
        cache_read, cache_write: prompt tokens read from the provider's cache (default: the price of input) and written to it (default: 1.25 times that).
    """

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None


class ModelSettings(Strict):
    """Limits, price and options of a model. An unset limit is read from the provider's headers or found by trial.

    Args:
        concurrency: parallel calls.
        requests_per_minute, input_tokens_per_minute, output_tokens_per_minute: the account's limits.
        tokens_per_minute: input and output together, if the provider limits the sum.
        context: maximum tokens of prompt and answer together, if the price data does not state it.
        runs_at_once: number of runs that may use the model at the same time; each gets an equal share of the limits.
        price: replaces the price data.
        options: options of the provider, such as effort, temperature or base_url.
    """

    concurrency: Count | None = None
    requests_per_minute: Tokens | None = None
    input_tokens_per_minute: Tokens | None = None
    output_tokens_per_minute: Tokens | None = None
    tokens_per_minute: Tokens | None = None
    context: Tokens | None = None
    runs_at_once: Count = 1
    price: Price | None = None
    options: dict[str, Option] = Field(default_factory=dict)

    def per_minute(self) -> dict[LimitKind, float]:
        """Return one run's share of the known limits."""
        known: dict[LimitKind, int | None] = {
            "requests": self.requests_per_minute,
            "input_tokens": self.input_tokens_per_minute,
            "output_tokens": self.output_tokens_per_minute,
            "tokens": self.tokens_per_minute,
        }
        return {kind: limit / self.runs_at_once for kind, limit in known.items() if limit}

    def share_of_concurrency(self) -> int:
        """Return how many calls one run may have under way."""
        return max(1, (self.concurrency or 1) // self.runs_at_once)


class Calls(Strict):
    """Timeouts and retries of calls, and when an outage ends the run.

    Args:
        concurrency: parallel calls of a model, unless `models` sets another number.
        timeout_seconds: of one attempt.
        attempts: per call, counting temporary failures.
        total_seconds: time limit for the retries of a call, from its first failure.
        first_backoff_seconds, longest_backoff_seconds: first and longest pause after a failure; the pause doubles each time.
        longest_wait_seconds: the run ends if a provider asks for a longer wait, or if a single call would use up a limit for longer.
        outage_seconds: the run ends after only failures for this time.
        unusable_answers: number of invalid answers (truncated, wrong format, rejected by a guard) after which the call fails.
    """

    concurrency: Count = 8
    timeout_seconds: Seconds = 300
    attempts: Count = 5
    total_seconds: Seconds = 600
    first_backoff_seconds: Seconds = 0.5
    longest_backoff_seconds: Seconds = 20
    longest_wait_seconds: Seconds = 120
    outage_seconds: Seconds = 120
    unusable_answers: Count = 4

    @model_validator(mode="after")
    def _ordered(self) -> "Calls":
        if self.first_backoff_seconds > self.longest_backoff_seconds:
            raise ValueError(f"first_backoff_seconds is {self.first_backoff_seconds:g}, longer than longest_backoff_seconds, {self.longest_backoff_seconds:g}")
        return self


class Budget(Strict):
    """Spending limit of one run over all its processes, checked before each call. Repeating the command continues with the same budget.

    Args:
        usd: no call is sent whose maximum cost would exceed it.
        tokens: input and output tokens together.
    """

    usd: Amount | None = None
    tokens: Annotated[int, Field(strict=True, ge=0, le=10**13)] | None = None
