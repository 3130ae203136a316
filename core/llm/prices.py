"""Prices of tokens: from the data of the `genai-prices` package, read offline, or from the settings."""

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
"""Pattern of the date at the end of a model's name: a dated version has the price of its model."""

CACHE_WRITE = 1.25
"""Price of a token written to the cache of Anthropic or OpenAI, as a multiple of the price of input."""

CACHE_WRITE_HOUR = 2.0
"""The same for an Anthropic cache entry that is kept for an hour (platform.claude.com/docs/en/build-with-claude/prompt-caching)."""

BATCH = {"processing": "batch"}
"""Key of the batch prices in the price data."""

BATCH_SHARE = 0.5
"""Price of a call in a batch, as a share of the usual price: the discount of Anthropic, OpenAI and Google
(platform.claude.com/docs/en/build-with-claude/batch-processing, developers.openai.com/api/docs/guides/batch, ai.google.dev/gemini-api/docs/batch-api)."""

FLAT_SECONDS = 600
"""Seconds for which prices are cached before they are looked up for the current date again."""


class PriceList(Protocol):
    """The prices of one model."""

    @property
    def version(self) -> str | None:
        """The source and version of the prices; None if the price is unknown."""
        ...

    def price(self, usage: Usage) -> float | None:
        """Return the cost in USD; None if the price is unknown."""
        ...


@dataclass(frozen=True)
class Unknown:
    """The prices of a model without a known price. Its calls are recorded with their usage, so that they can be priced later."""

    version: str | None = None

    def price(self, usage: Usage) -> float | None:  # noqa: ARG002
        """Return None."""
        return None


@dataclass(frozen=True)
class Given:
    """Prices from the settings, or those of a local model.

    Args:
        rates: USD per million tokens.
        version: source of the prices.
    """

    rates: Price
    version: str | None = "settings"

    def price(self, usage: Usage) -> float | None:
        """Return the cost in USD."""
        rates = self.rates
        plain = usage.input_tokens - usage.cache_read_tokens - usage.cache_write_tokens
        read = rates.input if rates.cache_read is None else rates.cache_read
        write = CACHE_WRITE * rates.input if rates.cache_write is None else rates.cache_write
        return (plain * rates.input + usage.cache_read_tokens * read + usage.cache_write_tokens * write + usage.output_tokens * rates.output) / 1e6


class Listed:
    """Prices from the price data, at the time of the call."""

    def __init__(self, provider: str, model: str, batch: bool = False) -> None:
        """Find a model in the price data.

        Args:
            provider: name of the provider in the price data.
            model: name of the model.
            batch: whether its calls are in a batch. If the data has no batch price, the higher usual price is used, and `version` says so.

        Raises:
            LookupError: the data has no model of exactly this name. A mere prefix match is rejected: it could price the model like a similarly named one.
        """
        import genai_prices

        self._info = genai_prices.data_snapshot.get_snapshot().find_provider_model(model, None, provider, None)[1]
        if not re.fullmatch(re.escape(self._info.id) + DATED, model):
            raise LookupError(model)
        self._usage = genai_prices.Usage
        version = f"genai-prices {genai_prices.__version__}"
        # for a model without batch prices the package silently returns the usual prices
        self._context = BATCH if batch and self._has_batch_price() else None
        self.version: str | None = version if not batch else f"{version}, batch" if self._context else f"{version}, no batch price known"
        self._hour = bool(self._context) and provider == "anthropic"  # blocks/anthropic_batches.py requests cache entries of one hour
        self._flat: tuple[float, Given, float] | None = None

    def price(self, usage: Usage) -> float | None:
        """Return the cost in USD."""
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
        """Return today's prices as constants, and the prompt length from which other prices apply. A lookup in the package takes 0.1 ms per call."""
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
"""Names of providers in the price data, by the names used here."""


def max_price(prices: PriceList, most: Usage) -> float | None:
    """Return the maximum cost of tokens in USD, whether the prompt is read from the provider's cache, written to it, or neither; None if unknown."""
    read, written = most.input_tokens, most.output_tokens
    costs = [prices.price(usage) for usage in (Usage(read, written), Usage(read, written, read), Usage(read, written, 0, read))]
    priced = [cost for cost in costs if cost is not None]
    return max(priced) if len(priced) == len(costs) else None


def price_list(reference: str, rates: Price | None, free: bool, batch: bool = False) -> PriceList:
    """Return the prices of a model.

    Args:
        reference: `provider/model`.
        rates: the price in the settings, which has priority; None if they have none.
        free: whether the model runs on this machine.
        batch: whether its calls are in a batch.
    """
    provider, _, model = reference.partition("/")
    if rates:
        return Given(_of_batch(rates, provider), "settings, batch") if batch else Given(rates)
    if free:
        return Given(FREE, "free: runs here")
    try:
        return _listed(LISTED[provider], model, batch)
    except LookupError:
        return Unknown()


@lru_cache(maxsize=64)  # each conversation opens its models, and the package takes a millisecond to find today's prices
def _listed(provider: str, model: str, batch: bool) -> Listed:
    return Listed(provider, model, batch)


def _of_batch(rates: Price, provider: str) -> Price:
    write = CACHE_WRITE_HOUR * rates.input if provider == "anthropic" else rates.cache_write
    read, write = (None if price is None else BATCH_SHARE * price for price in (rates.cache_read, write))
    return Price(input=BATCH_SHARE * rates.input, output=BATCH_SHARE * rates.output, cache_read=read, cache_write=write)


def context_window(reference: str) -> int | None:
    """Return the context window of a model, prompt and answer together, in tokens; None if the price data does not have it."""
    import genai_prices

    provider, _, model = reference.partition("/")
    try:
        info = genai_prices.data_snapshot.get_snapshot().find_provider_model(model, None, LISTED[provider], None)[1]
    except LookupError:
        return None
    return info.context_window if re.fullmatch(re.escape(info.id) + DATED, model) else None
