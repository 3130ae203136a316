"""Words, sentences, openers, endings and lengths of messages: what is counted in texts, for judges, guards and audits."""

import re
from collections.abc import Sequence

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
