"""Settings of models: limits, prices, options, how failures are borne, and the budget."""

from typing import Annotated

from pydantic import Field, model_validator

from core.quantities import Amount, Count, Seconds, Tokens
from core.records import LimitKind
from core.yaml_files import Strict

Option = bool | int | float | str


class Price(Strict):
    """USD for a million tokens, for a model that the price data lacks.

    Args:
        input, output: tokens of prompts, and of answers with their thinking.
        cache_read, cache_write: tokens of prompts that are read from the provider's cache (by default as much as input), and put there (1.25 times that).
    """

    input: Amount
    output: Amount
    cache_read: Amount | None = None
    cache_write: Amount | None = None


class ModelSettings(Strict):
    """Limits, price and options of a model; a limit that is not given is taken from the provider's headers or found by trying.

    Args:
        concurrency: calls under way at once.
        requests_per_minute, input_tokens_per_minute, output_tokens_per_minute: the account's limits.
        tokens_per_minute: input and output together, where the provider limits that.
        context: tokens that a prompt and its answer may take together, where the price data does not know.
        runs_at_once: how many runs may use the model at the same time; each keeps to its share of the limits.
        price: replaces the price data.
        options: of the provider's block, such as effort, temperature or base_url.
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
    """How long a call, and a provider that fails, are borne.

    Args:
        concurrency: calls of a model under way at once, where `models` says nothing else.
        timeout_seconds: until one attempt is given up.
        attempts: of one call, counting failures that may pass.
        total_seconds: from a call's first failure until it is given up.
        first_backoff_seconds, longest_backoff_seconds: the pause after a failure doubles from the one to the other.
        longest_wait_seconds: a provider that asks to wait longer ends the run, and so does a limit of which a single call takes more than so long.
        outage_seconds: nothing but failures for so long ends the run.
        unusable_answers: how many answers that are cut off, have not the asked form or are refused by a guard make the call fail.
    """

    concurrency: Count
    timeout_seconds: Seconds
    attempts: Count
    total_seconds: Seconds
    first_backoff_seconds: Seconds
    longest_backoff_seconds: Seconds
    longest_wait_seconds: Seconds
    outage_seconds: Seconds
    unusable_answers: Count

    @model_validator(mode="after")
    def _ordered(self) -> "Calls":
        if self.first_backoff_seconds > self.longest_backoff_seconds:
            raise ValueError(f"first_backoff_seconds is {self.first_backoff_seconds:g}, longer than longest_backoff_seconds, {self.longest_backoff_seconds:g}")
        return self


class Budget(Strict):
    """What one run may cost, over all its processes; checked before each call. The same command again goes on with the same budget.

    Args:
        usd: no call is sent that could exceed it.
        tokens: input and output together.
    """

    usd: Amount | None = None
    tokens: Annotated[int, Field(strict=True, ge=0, le=10**13)] | None = None
