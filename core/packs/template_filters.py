"""The filters of templates, and the count of what the text that is being made costs: characters, items and time."""

import re
import time
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any

from jinja2 import Undefined, pass_environment
from jinja2 import filters as of_jinja

LONGEST_TEXT = 20_000_000
"""Characters that a template may make, those included that it throws away: five times what the largest context of a model holds."""
SECONDS = 2.0
"""Of the processor, for one text. A shipped prompt takes a few milliseconds."""
STEPS = 32
"""Between two looks at the clock, which costs more than most of them."""
STEP = 1_000
"""Characters that count as a step; so do an item of a loop, a piece of text, a filter, a test and a comparison."""
ITEM = 64
"""Characters that an item of a list counts as, which is what it takes in memory."""

_TAKEN = (
    *("abs", "capitalize", "count", "d", "default", "first", "float", "int", "items", "last", "length", "list", "lower", "map", "max", "min"),
    *("reject", "rejectattr", "reverse", "select", "selectattr", "sort", "title", "unique", "upper"),
)
_WHOLE = frozenset(
    {"capitalize", "count", "d", "default", "float", "format", "int", "length", "lower", "replace", "reverse", "round", "title", "trim", "upper"}
)
"""Filters that read a text as one value; the others take it apart."""
_WIDE = re.compile(r"%[^%a-zA-Z]*(?:\d{3}|\*)")


@dataclass
class _Work:
    """What the text that is being made has cost so far.

    Args:
        look: steps after which the clock is looked at; until: when it must have ended, known from the first look on.
    """

    characters: int = 0
    steps: int = 0
    look: int = STEPS
    until: float | None = None


_WORK: ContextVar[_Work] = ContextVar("_WORK")


@contextmanager
def metered() -> Generator[None]:
    """Count what is made in this block by itself; too much of it raises an `OverflowError` there."""
    spent = _WORK.set(_Work())
    try:
        yield
    finally:
        _WORK.reset(spent)


def spend(characters: int = 0) -> None:
    """Count a step, and the characters that it makes or reads.

    Raises:
        OverflowError: the text takes too much.
    """
    work = _WORK.get()
    work.characters += characters
    work.steps += 1 + characters // STEP
    if work.characters > LONGEST_TEXT:
        raise OverflowError(f"it makes more than {LONGEST_TEXT:,} characters")
    if work.steps >= work.look:
        now = time.thread_time()
        work.look, work.until = work.steps + STEPS, work.until or now + SECONDS
        if now > work.until:
            raise OverflowError(f"it takes more than {SECONDS:g} s")


def text_of(value: Any) -> str:
    """Return what is written of a text or a number; anything else is a `TypeError`."""
    if not isinstance(value, str | int | float | Undefined | None):
        raise TypeError(f"only texts and numbers can be written, and a {type(value).__name__} is neither")
    return str(value)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        spend()
        yield value


def _flat(values: Sequence[Any]) -> Sequence[Any]:
    """Return a list that a template writes out: with lists in lists a small template could make a value that takes for ever to compare."""
    for value in values:
        text_of(value)
    spend(_size(values))
    return values


def _counted_whole(value: Any) -> Any:
    spend(_size(value))
    return value


def _timed(value: Any) -> Any:
    spend()
    return value


def _size(value: Any) -> int:
    """Return how many characters a value counts as; a text that stands in a list several times counts each time, as what reads the list reads it."""
    if isinstance(value, list | tuple):
        return sum(ITEM + (len(item) if isinstance(item, str) else 0) for item in value)
    return len(value) if isinstance(value, str) else 0


@pass_environment
def join(environment: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Join texts and numbers as Jinja's filter does."""
    items = value if attribute is None else map(of_jinja.make_attrgetter(environment, attribute), value)
    texts = [text_of(item) for item in items]
    spend(sum(map(len, texts)) + len(d) * len(texts))
    return d.join(texts)


def _replace(value: Any, old: str, new: str, count: int = -1) -> str:
    text = text_of(value)
    spend(len(text) + text.count(old) * len(new))
    return text.replace(old, new, count)


def _format(pattern: str, *values: Any) -> str:
    if not isinstance(pattern, str) or _WIDE.search(pattern):
        raise ValueError("`format` takes a text with widths of at most two digits")
    return pattern % tuple(_flat(values))


def _round(value: float, precision: int = 0, method: Any = "common") -> float:
    if abs(precision) > 15:
        raise ValueError("`round` takes at most 15 digits")
    return of_jinja.do_round(value, precision, method)


def _trim(value: Any, chars: str | None = None) -> str:
    if chars is not None and len(chars) > 100:
        raise ValueError("`trim` takes at most 100 characters")
    return text_of(value).strip(chars)


def _charged(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Count what a filter takes apart, and what it makes."""

    @wraps(function)  # with the attribute by which Jinja passes it the environment
    def filtered(*arguments: Any, **named: Any) -> Any:
        spend(0 if name in _WHOLE else sum(ITEM * len(value) for value in arguments if isinstance(value, str)))
        result = function(*arguments, **named)
        result = list(_counted(result)) if isinstance(result, Iterator) else result
        spend(_size(result))
        return result

    return filtered


def timed_test(made: Any) -> Any:
    """Count each test: `select` and its like tell nothing of items that they pass over."""

    @wraps(made)
    def tested(*given: Any) -> bool:
        spend()
        return made(*given)

    return tested


FILTERS: dict[str, Callable[..., Any]] = {
    name: _charged(name, does)
    for name, does in (
        {name: of_jinja.FILTERS[name] for name in _TAKEN} | {"join": join, "replace": _replace, "format": _format, "round": _round, "trim": _trim}
    ).items()
}
"""Those that a template may name."""
BOUNDS: dict[str, Callable[..., Any]] = {"_counted": _counted, "_flat": _flat, "_counted_whole": _counted_whole, "_timed": _timed}
"""Those that are put into a template, where Jinja's sandbox has no hook."""
