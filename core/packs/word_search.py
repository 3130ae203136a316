"""Searching a text for the words that a pack lists."""

import re
from functools import cache

from core.packs.taxonomy import Taxonomy

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""A letter of a script that puts no spaces between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese."""


KEPT = 4096
"""Texts whose topics are kept in memory."""


def plain(text: str) -> str:
    """Return a text as the lists are searched in it."""
    return text.lower().replace("’", "").replace("'", "")  # people leave them out


def place_of(words: tuple[str, ...], searched: str) -> int | None:
    """Return where the first of some words begins in a text that is made `plain`; none where it has none of them.

    Words are found at a word's start; signs, and words of a script without spaces, anywhere.
    """
    texts, pattern = _prepared(words)
    if not any(text in searched for text in texts):  # as for most texts; the expression takes thirty times as long to find nothing
        return None
    found = pattern.search(searched)
    return found.start() if found else None


@cache
def _prepared(words: tuple[str, ...]) -> tuple[list[str], re.Pattern[str]]:
    texts = [text for word in sorted(words, key=len, reverse=True) if (text := plain(word).strip())]
    spaced = [text for text in texts if re.match(r"\w", text) and not UNSPACED.match(text)]
    kinds = ((r"\b", spaced), ("", [text for text in texts if text not in spaced]))
    parts = [f"{begin}(?:{'|'.join(map(re.escape, listed))})" for begin, listed in kinds if listed]
    return texts, re.compile("|".join(parts) or r"(?!)")  # without words it matches nothing


class TopicSearch:
    """Finds the subtopics of a taxonomy in texts, by their words; it keeps what it found in the last texts, as a text is often searched again."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Take the subtopics' words."""
        self._words = {name: tuple(subtopic.words) for group in taxonomy.topics.values() for name, subtopic in group.subtopics.items()}
        self._positions: dict[str, dict[str, int]] = {}

    def find(self, text: str) -> dict[str, int]:
        """Return the subtopics that a text touches and the position where each first shows, in order of appearance."""
        if text not in self._positions:
            if len(self._positions) >= KEPT:
                self._positions.clear()
            searched = plain(text)
            positions = {name: place for name, words in self._words.items() if (place := place_of(words, searched)) is not None}
            self._positions[text] = dict(sorted(positions.items(), key=lambda item: item[1]))
        return self._positions[text]

    def count(self, text: str, topic: str) -> int:
        """Count how often a subtopic's words occur in a text."""
        _, pattern = _prepared(self._words[topic])
        return len(pattern.findall(plain(text)))
