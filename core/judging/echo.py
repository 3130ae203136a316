"""How much of an assistant's answers is copied: from the user's messages, and from its own earlier answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.judging.text_facts import words
from core.records import Exchange

RUN = 4
"""Words of a run that counts as copied: three are often plain English."""

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Echo:
    """What one answer copies.

    Args:
        runs: its runs of `RUN` words.
        copied: those that a message of the user's so far has; repeated: those that an earlier answer has.
        longest: the longest run of words that stands in one message of the user's so far; empty where none has `RUN` words.
    """

    exchange: int
    runs: int
    copied: int
    repeated: int
    longest: str


@dataclass(frozen=True)
class Echoes:
    """The same of all answers of a conversation, as shares of their runs; none where no answer has a run."""

    copied: float | None
    repeated: float | None
    longest: str
    longest_exchange: int

    @property
    def longest_words(self) -> int:
        """Words of the longest copied run."""
        return len(self.longest.split())


def echoes(exchanges: Sequence[Exchange]) -> list[Echo]:
    """Measure each answer of a conversation."""
    found, heard, said = [], set[Gram](), set[Gram]()
    messages: list[str] = []
    for exchange in exchanges:
        heard |= set(grams(words(exchange.user)))
        messages.append(_joined(words(exchange.user)))
        answer = words(exchange.assistant)
        own = list(grams(answer))
        copied = [start for start, gram in enumerate(own) if gram in heard]
        repeated = sum(gram in said for gram in own)
        found.append(Echo(exchange.exchange_number, len(own), len(copied), repeated, _longest(answer, copied, messages)))
        said |= set(own)
    return found


def summarised(found: Iterable[Echo]) -> Echoes:
    """Return the shares over all answers, and the longest copied run."""
    answers = list(found)
    runs = sum(echo.runs for echo in answers)
    longest = max(answers, key=lambda echo: len(echo.longest.split()), default=None)
    return Echoes(
        copied=sum(echo.copied for echo in answers) / runs if runs else None,
        repeated=sum(echo.repeated for echo in answers) / runs if runs else None,
        longest=longest.longest if longest else "",
        longest_exchange=longest.exchange if longest else 0,
    )


def grams(said: Sequence[str]) -> Iterable[Gram]:
    """Return the runs of `RUN` words."""
    return (tuple(said[start : start + RUN]) for start in range(len(said) - RUN + 1))


def _joined(said: Sequence[str]) -> str:
    return f" {' '.join(said)} "


def _longest(answer: Sequence[str], starts: Sequence[int], messages: Sequence[str]) -> str:
    """Return the longest run of an answer's words, from one of some places on, that stands in one message."""
    best: Sequence[str] = ()
    for start in starts:
        size = max(RUN, len(best) + 1)
        while start + size <= len(answer) and any(_joined(answer[start : start + size]) in message for message in messages):
            best = answer[start : start + size]
            size += 1
    return " ".join(best)
