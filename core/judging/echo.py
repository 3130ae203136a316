"""How much of an assistant's answers is copied: from the user's messages, and from its own earlier answers."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from core.judging.text_facts import words
from core.records import Exchange

RUN = 4
"""Length in words of a run that counts as copied; runs of three often agree by chance."""

Gram = tuple[str, ...]


@dataclass(frozen=True)
class Echo:
    """What one answer copies.

    Args:
        runs: number of its runs of `RUN` words.
        copied: how many of these runs occur in the user's messages so far.
        repeated: how many of them occur in earlier answers.
        longest: the longest run of words that occurs in one of the user's messages so far; empty where it is shorter than `RUN`.
    """

    exchange: int
    runs: int
    copied: int
    repeated: int
    longest: str


@dataclass(frozen=True)
class Echoes:
    """What all answers of a conversation copy.

    Args:
        copied, repeated: shares of all runs, 0 to 1; None where no answer has a run.
        longest: the longest copied run.
        longest_exchange: number of its exchange; 0 where there is none.
    """

    copied: float | None
    repeated: float | None
    longest: str
    longest_exchange: int

    @property
    def longest_words(self) -> int:
        """Words of the longest copied run."""
        return len(self.longest.split())


def echoes(exchanges: Sequence[Exchange]) -> list[Echo]:
    """Return what each answer of a conversation copies."""
    measured, user_runs, earlier_runs = [], set[Gram](), set[Gram]()
    messages: list[str] = []
    for exchange in exchanges:
        user_runs |= set(grams(words(exchange.user)))
        messages.append(_joined(words(exchange.user)))
        answer = words(exchange.assistant)
        own = list(grams(answer))
        copied = [start for start, gram in enumerate(own) if gram in user_runs]
        repeated = sum(gram in earlier_runs for gram in own)
        measured.append(Echo(exchange.exchange_number, len(own), len(copied), repeated, _longest(answer, copied, messages)))
        earlier_runs |= set(own)
    return measured


def summarised(measured: Iterable[Echo]) -> Echoes:
    """Return the shares over all answers, and the longest copied run."""
    answers = list(measured)
    runs = sum(echo.runs for echo in answers)
    longest = max(answers, key=lambda echo: len(echo.longest.split()), default=None)
    return Echoes(
        copied=sum(echo.copied for echo in answers) / runs if runs else None,
        repeated=sum(echo.repeated for echo in answers) / runs if runs else None,
        longest=longest.longest if longest else "",
        longest_exchange=longest.exchange if longest else 0,
    )


def grams(text_words: Sequence[str]) -> Iterable[Gram]:
    """Return the runs of `RUN` words."""
    return zip(*(text_words[start:] for start in range(RUN)), strict=False)


def _joined(text_words: Sequence[str]) -> str:
    return f" {' '.join(text_words)} "


def _longest(answer: Sequence[str], starts: Sequence[int], messages: Sequence[str]) -> str:
    """Return the longest run of an answer's words that begins at one of `starts` and occurs in one message."""
    best: Sequence[str] = ()
    for start in starts:
        size = max(RUN, len(best) + 1)
        while start + size <= len(answer) and any(_joined(answer[start : start + size]) in message for message in messages):
            best = answer[start : start + size]
            size += 1
    return " ".join(best)
