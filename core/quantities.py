"""The numbers that settings, packs and forms have, each with its unit and its bounds.

All are strict: `true`, "5" and 5.0 are no whole number. The upper bounds are far above what is of use, and below what would never end.
"""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

Pair = TypeVar("Pair", bound=tuple[float, float])


def _ordered(pair: Pair) -> Pair:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is [low, high], found {list(pair)}")
    return pair


ORDERED = AfterValidator(_ordered)
"""For a range."""

Whole = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
"""A number of things, which may be none."""
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
"""A number of things, at least one."""
Tokens = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
"""Tokens: room for an answer, a context, or what passes in a minute."""
LARGEST_SEED = 1_000_000_000
Seed = Annotated[int, Field(strict=True, ge=0, le=LARGEST_SEED)]
"""Of a persona."""
Words = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""Words of a message, or of a part of one."""
Exchanges = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""Exchanges of a conversation."""
Days = Annotated[int, Field(strict=True, ge=0, le=10_000)]

Amount = Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)]
"""USD."""
Seconds = Annotated[float, Field(strict=True, gt=0, le=2_592_000, allow_inf_nan=False)]
"""Up to thirty days."""
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
"""A part of a whole, which may be nothing."""
Part = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
"""A part of a whole that is not nothing: a weight, a threshold."""
Within = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
"""A part of a whole that is neither nothing nor all: a level of significance, a power."""
Correlation = Annotated[float, Field(strict=True, ge=-1, le=1, allow_inf_nan=False)]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1000, allow_inf_nan=False)]
"""How many times as much; 0 is nothing."""
Factor = Annotated[float, Field(strict=True, ge=0.001, le=1000, allow_inf_nan=False)]
"""By which a weight is multiplied; the product of many stays a number that something can be drawn by."""
Positive = Annotated[float, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False)]
"""An amount of something physical."""

Shares = Annotated[tuple[Share, Share], ORDERED]
Differences = Annotated[tuple[Correlation, Correlation], ORDERED]
Ratios = Annotated[tuple[Ratio, Ratio], ORDERED]
ExchangeRange = Annotated[tuple[Exchanges, Exchanges], ORDERED]
WordRange = Annotated[tuple[Words, Words], ORDERED]
DayRange = Annotated[tuple[Days, Days], ORDERED]
WholeRange = Annotated[tuple[Whole, Whole], ORDERED]


def format_share(share: float, sign: str = "") -> str:
    """Return a share in per cent, rounded to whole ones, but never to 0 or 100 what is neither."""
    percent = 100 * share
    digits = next((digits for digits in range(3) if round(percent, digits) not in (0, 100) or percent in (0, 100)), 3)
    return f"{percent:{sign}.{digits}f} %"
