"""Measured facts about a transcript: counts that a judge should not have to guess."""

import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.records import Exchange

OPENER_WORDS = 3
"""Number of words by which two openers are distinguished."""

_MARKUP = re.compile(r"[*_#>`]+")


def words(text: str) -> list[str]:
    """Return a text's words, lower case, without punctuation or Markdown."""
    return re.findall(r"[\w'’]+", _MARKUP.sub(" ", text.lower()))


def sentences(text: str) -> list[str]:
    """Split a text into sentences and lines."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def opener(text: str) -> str:
    """Return the first few words of a message, by which repeated openers are found."""
    return " ".join(words(text)[:OPENER_WORDS])


def ends_with_question(text: str) -> bool:
    """Say whether a message's last sentence asks something."""
    return text.rstrip(" \n\"'”’*_)").endswith("?")


def length_ratios(exchanges: Sequence[Exchange]) -> list[float]:
    """Return for each exchange the answer's words over the message's."""
    return [len(words(exchange.assistant)) / max(1, len(words(exchange.user))) for exchange in exchanges]


def measure(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    """Return the facts that every judge is given.

    Returns:
        `user_words` and `assistant_words` (counts, one per exchange), `length_ratio` (mean), `question_endings` (share of
        the assistant's messages, 0 to 1), and `repeated_openers` (opener and count, most frequent first).
    """
    openers = Counter(opener(exchange.assistant) for exchange in exchanges)
    ratios = length_ratios(exchanges)
    return {
        "user_words": [len(words(exchange.user)) for exchange in exchanges],
        "assistant_words": [len(words(exchange.assistant)) for exchange in exchanges],
        "length_ratio": round(sum(ratios) / len(ratios), 2),
        "question_endings": round(sum(ends_with_question(exchange.assistant) for exchange in exchanges) / len(exchanges), 2),
        "repeated_openers": [{"opener": text, "count": count} for text, count in openers.most_common(5) if count > 1],
    }
