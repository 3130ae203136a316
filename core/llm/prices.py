"""What tokens cost: the price data of the `genai-prices` package, read offline, or the settings' own price."""

import math
import re
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Protocol

from core.llm.chat import Usage
from core.settings.models import Price

FREE = Price(input=0, output=0)
DATED = r"([-@](\d{8}|\d{4}-\d{2}-\d{2}))?"
"""A dated version costs what its model costs."""

CACHE_WRITE = 1.25
"""Times the price of input that Anthropic and OpenAI take for a token that is put into their cache."""

CACHE_WRITE_HOUR = 2.0
"""The same at Anthropic for an entry that is kept for an hour (platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

BATCH = {"processing": "batch"}
"""How the price data tells the prices of a batch."""

BATCH_SHARE = 0.5
"""Of the price of a call, for one in a batch: Anthropic's, OpenAI's and Google's discount (platform.claude.com/docs/en/build-with-claude/batch-processing,
developers.openai.com/api/docs/guides/batch, ai.google.dev/gemini-api/docs/batch-api)."""

FLAT_SECONDS = 600
"""How long prices are kept before the date is looked at again."""


class PriceList(Protocol):
    """The prices of one model."""

    @property
    def version(self) -> str | None:
        """Which price data it is; none where there is none."""
        ...

    def price(self, usage: Usage) -> float | None:
        """Return USD, or none where the price is unknown."""
        ...


@dataclass(frozen=True)
class Unknown:
    """A model without a price: its calls are kept with their usage, so that they can be priced later."""

    version: str | None = None

    def price(self, usage: Usage) -> float | None:  # noqa: ARG002
        """Return none."""
        return None


@dataclass(frozen=True)
class Given:
    """A price from the settings, or that of a local model."""

    given: Price
    version: str | None = "settings"

    def price(self, usage: Usage) -> float | None:
        """Return USD."""
        prices = self.given
        plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        read = prices.input if prices.cache_read is None else prices.cache_read
        write = CACHE_WRITE * prices.input if prices.cache_write is None else prices.cache_write
        return (plain * prices.input + usage.cache_read_tokens * read + usage.cache_write_tokens * write + usage.output_tokens * prices.output) / 1e6


class Listed:
    """A price from the price data, at the time of the call."""

    def __init__(self, provider: str, model: str, batch: bool = False) -> None:
        """Find a model.

        Args:
            batch: whether its calls are in a batch. Where the data has no price of that, the usual one is taken, which is more, and `version` says so.

        Raises:
            LookupError: the data has no such model. Its prefix match is not trusted: it prices a model as its neighbour.
        """
        import genai_prices

        self._info = genai_prices.data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)[1]
        if not re.fullmatch(re.escape(self._info.id) + DATED, model):
            raise LookupError(model)
        self._usage = genai_prices.Usage
        version = f"genai-prices {genai_prices.__version__}"
        # of a model without a variant the package returns the usual prices, and says nothing
        self._context = BATCH if batch and self._has_batch_price() else None
        self.version: str | None = version if not batch else f"{version}, batch" if self._context else f"{version}, no batch price known"
        self._hour = bool(self._context) and provider == "anthropic"  # as blocks/anthropic_batches.py asks the cache to keep it
        self._flat: tuple[float, Given, float] | None = None

    def price(self, usage: Usage) -> float | None:
        """Return USD."""
        now = time.monotonic()
        if self._flat is None or now > self._flat[0]:
            self._flat = (now + FLAT_SECONDS, *self._flattened())
        _, flat, upto = self._flat
        return flat.price(usage) if usage.input_tokens < upto else self._exact(usage)

    def _has_batch_price(self) -> bool:
        now = datetime.now(UTC)
        variants = [variant for variant in self._info.price_variants or () if variant.when == BATCH]
        return any(variant.constraint is None or variant.constraint.active(now) for variant in variants)

    def _exact(self, usage: Usage) -> float:
        counts = {
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "cache_read_tokens": usage.cache_read_tokens,
            "cache_write_tokens": usage.cache_write_tokens,
        }
        if self._hour:
            counts["cache_write_1h_tokens"] = usage.cache_write_tokens
        total: Decimal = self._info.get_prices(datetime.now(UTC), self._context).calc_price(self._usage(**counts))["total_price"]
        return float(total)

    def _flattened(self) -> tuple[Given, float]:
        """Return today's prices, and the prompt length from which others hold: the package takes a tenth of a millisecond for each call."""
        prices = self._info.get_prices(datetime.now(UTC), self._context)
        starts = [
            tier.start
            for name in ("input_mtok", "output_mtok", "cache_read_mtok", "cache_write_mtok", "cache_write_1h_mtok")
            for tier in getattr(getattr(prices, name), "tiers", ())
        ]
        n = min(1000, *starts) if starts else 1000
        units = [Usage(n), Usage(0, n), Usage(n, 0, n), Usage(n, 0, 0, n)]
        plain, output, read, write = (self._exact(usage) * 1e6 / n for usage in units)
        return Given(Price(input=plain, output=output, cache_read=read, cache_write=write)), float(min(starts, default=math.inf))


LISTED = {"anthropic": "anthropic", "openai": "openai", "google": "google", "claude-cli": "anthropic"}
"""Providers of ours, and their names in the price data."""


def greatest_price(prices: PriceList, most: Usage) -> float | None:
    """Return what tokens cost at most, wherever in the provider's cache the prompt is read or put; none where the price is unknown."""
    read, written = most.input_tokens, most.output_tokens
    costs = [prices.price(usage) for usage in (Usage(read, written), Usage(read, written, read), Usage(read, written, 0, read))]
    known = [cost for cost in costs if cost is not None]
    return max(known) if len(known) == len(costs) else None


def price_list(reference: str, given: Price | None, free: bool, batch: bool = False) -> PriceList:
    """Return the prices of a model.

    Args:
        reference: `provider/model`.
        given: the settings' price.
        free: whether it runs on this machine.
        batch: whether its calls are in a batch.
    """
    provider, _, model = reference.partition("/")
    if given:
        return Given(_of_batch(given, provider), "settings, batch") if batch else Given(given)
    if free:
        return Given(FREE, "free: runs here")
    try:
        return _listed(LISTED[provider], model, batch)
    except LookupError:
        return Unknown()


@lru_cache(maxsize=64)  # each conversation opens its models, and today's prices take the package a millisecond
def _listed(provider: str, model: str, batch: bool) -> Listed:
    return Listed(provider, model, batch)


def _of_batch(given: Price, provider: str) -> Price:
    write = CACHE_WRITE_HOUR * given.input if provider == "anthropic" else given.cache_write
    read, write = (None if price is None else BATCH_SHARE * price for price in (given.cache_read, write))
    return Price(input=BATCH_SHARE * given.input, output=BATCH_SHARE * given.output, cache_read=read, cache_write=write)


def context_window(reference: str) -> int | None:
    """Return how many tokens a model's prompt and answer may take together, where the price data knows."""
    import genai_prices

    provider, _, model = reference.partition("/")
    try:
        info = genai_prices.data_snapshot.get_snapshot().find_provider_model(model, None, LISTED[provider], None)[1]
    except LookupError:
        return None
    return info.context_window if re.fullmatch(re.escape(info.id) + DATED, model) else None
