"""Numeric types of settings, packs and forms, each with its unit and its bounds.

All are strict: `true`, "5" and 5.0 are not accepted as integers. The upper bounds are far above useful values, and low enough that a run still ends.
"""

from typing import Annotated, TypeVar

from pydantic import AfterValidator, Field

Pair = TypeVar("Pair", bound=tuple[float, float])


def _ordered(pair: Pair) -> Pair:
    if pair[0] > pair[1]:
        raise ValueError(f"a range is [low, high], found {list(pair)}")
    return pair


ORDERED = AfterValidator(_ordered)
"""Validator of a range: its low end is not above its high end."""

Whole = Annotated[int, Field(strict=True, ge=0, le=1_000_000)]
"""A number of things, 0 or more."""
Count = Annotated[int, Field(strict=True, ge=1, le=1_000_000)]
"""A number of things, 1 or more."""
Tokens = Annotated[int, Field(strict=True, ge=1, le=1_000_000_000)]
"""A number of tokens: the limit of an answer, the length of a context, or a rate per minute."""
MAX_SEED = 1_000_000_000
Seed = Annotated[int, Field(strict=True, ge=0, le=MAX_SEED)]
"""The seed of a persona."""
Words = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""The number of words in a message or in a part of one."""
Exchanges = Annotated[int, Field(strict=True, ge=1, le=10_000)]
"""The number of exchanges in a conversation."""
Days = Annotated[int, Field(strict=True, ge=0, le=10_000)]
Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]
"""A TCP port; 0 takes a free one."""
ServerPort = Annotated[int, Field(strict=True, ge=1, le=65_525)]
"""The TCP port of a Prefect server. The studio's port is 10 higher."""

Amount = Annotated[float, Field(strict=True, ge=0, le=1_000_000, allow_inf_nan=False)]
"""An amount of money in USD."""
Seconds = Annotated[float, Field(strict=True, gt=0, le=2_592_000, allow_inf_nan=False)]
"""A duration in seconds, up to 30 days."""
Share = Annotated[float, Field(strict=True, ge=0, le=1, allow_inf_nan=False)]
"""A share from 0 to 1."""
Part = Annotated[float, Field(strict=True, gt=0, le=1, allow_inf_nan=False)]
"""A share above 0, up to 1: a weight, a threshold."""
Within = Annotated[float, Field(strict=True, gt=0, lt=1, allow_inf_nan=False)]
"""A share strictly between 0 and 1: a significance level, a statistical power."""
Correlation = Annotated[float, Field(strict=True, ge=-1, le=1, allow_inf_nan=False)]
Ratio = Annotated[float, Field(strict=True, ge=0, le=1000, allow_inf_nan=False)]
"""A quotient of two amounts, 0 or more."""
Factor = Annotated[float, Field(strict=True, ge=0.001, le=1000, allow_inf_nan=False)]
"""A number that a weight is multiplied by; within these bounds the product of many factors is still usable as a weight."""
Positive = Annotated[float, Field(strict=True, gt=0, le=1_000_000, allow_inf_nan=False)]
"""A positive amount."""

Shares = Annotated[tuple[Share, Share], ORDERED]
Differences = Annotated[tuple[Correlation, Correlation], ORDERED]
Ratios = Annotated[tuple[Ratio, Ratio], ORDERED]
ExchangeRange = Annotated[tuple[Exchanges, Exchanges], ORDERED]
WordRange = Annotated[tuple[Words, Words], ORDERED]
DayRange = Annotated[tuple[Days, Days], ORDERED]
WholeRange = Annotated[tuple[Whole, Whole], ORDERED]


def format_share(share: float, sign: str = "") -> str:
    """Return a share in per cent, rounded to an integer; decimals are added where rounding would give 0 or 100 wrongly.

    Args:
        share: from 0 to 1, or a difference of two shares.
        sign: the sign option of a format specification; "+" shows a sign before positive numbers too.
    """
    percent = round(100 * share, 9) + 0.0  # no negative zero
    digits = next((digits for digits in range(3) if abs(round(percent, digits)) not in (0, 100) or abs(percent) in (0, 100)), 3)
    return f"{percent:{sign}.{digits}f} %"


def format_beside(value: float, digits: int, limit: float = 0.0, sign: str = "") -> str:
    """Return a rounded number; up to three decimals are added where rounding would move it onto a limit or across it.

    Args:
        value: the number.
        digits: usual number of decimals.
        limit: the number that the reader compares it with.
        sign: the sign option of a format specification.
    """

    def side(number: float) -> int:
        return (number > limit) - (number < limit)

    enough = next((more for more in range(digits, digits + 4) if side(round(value, more)) == side(value)), digits)
    return f"{round(value, enough) + 0.0:{sign}.{enough}f}"  # no negative zero


def format_difference(value: float) -> str:
    """Return a difference of scores with its sign; it reads as zero only if it is zero."""
    return format_beside(value, 3, sign="+")


def format_interval(interval: tuple[float, float]) -> str:
    """Return both ends of an interval of a difference of scores."""
    return f"{format_difference(interval[0])} to {format_difference(interval[1])}"


def format_points(share: float, limit: float = 0.0, sign: str = "+") -> str:
    """Return a difference of shares in percentage points.

    Args:
        share: the difference.
        limit: the share that the reader compares it with.
        sign: the sign option of a format specification.
    """
    return format_beside(100 * share, 1, 100 * limit, sign)
