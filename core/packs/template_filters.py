"""The filters of templates, and the meter that limits the characters, steps and time of rendering a text."""

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

MAX_CHARACTERS = 20_000_000
"""Maximum characters that a template may produce, including those that it discards: five times the largest context of a model."""
SECONDS = 2.0
"""Maximum processor time for one text. An included prompt takes a few milliseconds."""
STEPS = 32
"""Number of steps between two readings of the clock, because a reading costs more than most steps."""
STEP = 1_000
"""Number of characters that count as a step. An item of a loop, a piece of text, a filter, a test and a comparison are a step each, too."""
ITEM = 64
"""Number of characters that an item of a list counts as, which is about its size in memory in bytes."""

_JINJA_FILTERS = (
    *("abs", "capitalize", "count", "d", "default", "first", "float", "int", "items", "last", "length", "list", "lower", "map", "max", "min"),
    *("reject", "rejectattr", "reverse", "select", "selectattr", "sort", "title", "unique", "upper"),
)
_WHOLE = frozenset(
    {"capitalize", "count", "d", "default", "float", "format", "int", "length", "lower", "replace", "reverse", "round", "title", "trim", "upper"}
)
"""Filters that read a text as one value; the others split it into characters."""
_WIDE = re.compile(r"%[^%a-zA-Z]*(?:\d{3}|\*)")


@dataclass
class _Work:
    """The cost of the text so far.

    Args:
        characters: characters produced.
        steps: steps taken.
        look: number of steps at which the clock is read next.
        until: processor time at which the text must be finished; None until the first reading of the clock.
    """

    characters: int = 0
    steps: int = 0
    look: int = STEPS
    until: float | None = None


_WORK: ContextVar[_Work] = ContextVar("_WORK")


@contextmanager
def metered() -> Generator[None]:
    """Meter the rendering in this block on its own; exceeding a limit raises an `OverflowError` within the block."""
    token = _WORK.set(_Work())
    try:
        yield
    finally:
        _WORK.reset(token)


def spend(characters: int = 0) -> None:
    """Count a step and the characters that it produces or reads.

    Raises:
        OverflowError: a limit is exceeded.
    """
    work = _WORK.get()
    work.characters += characters
    work.steps += 1 + characters // STEP
    if work.characters > MAX_CHARACTERS:
        raise OverflowError(f"it makes more than {MAX_CHARACTERS:,} characters")
    if work.steps >= work.look:
        now = time.thread_time()
        work.look, work.until = work.steps + STEPS, work.until or now + SECONDS
        if now > work.until:
            raise OverflowError(f"it takes more than {SECONDS:g} s")


def text_of(value: Any) -> str:
    """Return a text or a number as text.

    Raises:
        TypeError: the value is neither.
    """
    if not isinstance(value, str | int | float | Undefined | None):
        raise TypeError(f"only texts and numbers can be written, and a {type(value).__name__} is neither")
    return str(value)


def _counted(values: Iterable[Any]) -> Iterator[Any]:
    for value in values:
        spend()
        yield value


def _flat(values: Sequence[Any]) -> Sequence[Any]:
    """Return a list that a template contains, after checking that it has no lists in it.

    With nested lists, a small template could make a value that takes forever to compare.
    """
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
    """Return how many characters a value counts as; a text that occurs several times in a list counts each time, because it is read each time."""
    if isinstance(value, list | tuple):
        return sum(ITEM + (len(item) if isinstance(item, str) else 0) for item in value)
    return len(value) if isinstance(value, str) else 0


@pass_environment
def join(environment: Any, value: Iterable[Any], d: str = "", attribute: str | int | None = None) -> str:
    """Return texts and numbers joined as by Jinja's filter."""
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
    """Return a filter that counts the texts that it splits and the result."""

    @wraps(function)  # keeps the attribute with which Jinja passes the environment
    def filtered(*arguments: Any, **named: Any) -> Any:
        spend(0 if name in _WHOLE else sum(ITEM * len(value) for value in arguments if isinstance(value, str)))
        result = function(*arguments, **named)
        result = list(_counted(result)) if isinstance(result, Iterator) else result
        spend(_size(result))
        return result

    return filtered


def timed_test(test: Any) -> Any:
    """Return a test that counts as a step, because `select` and similar filters do not report items that they skip."""

    @wraps(test)
    def tested(*arguments: Any) -> bool:
        spend()
        return test(*arguments)

    return tested


FILTERS: dict[str, Callable[..., Any]] = {
    name: _charged(name, function)
    for name, function in (
        {name: of_jinja.FILTERS[name] for name in _JINJA_FILTERS} | {"join": join, "replace": _replace, "format": _format, "round": _round, "trim": _trim}
    ).items()
}
"""Filters that a template may use."""
BOUNDS: dict[str, Callable[..., Any]] = {"_counted": _counted, "_flat": _flat, "_counted_whole": _counted_whole, "_timed": _timed}
"""Filters that are inserted into a template where Jinja's sandbox has no hook."""
