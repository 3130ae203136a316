"""Search of texts for the words that a pack lists."""

import re
from functools import cache

from core.packs.taxonomy import Taxonomy

UNSPACED = re.compile("[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]")
"""A letter of a script that puts no spaces between words: Thai, Lao, Burmese, Khmer, Chinese and Japanese."""


CACHE_SIZE = 4096
"""Number of texts whose subtopics are cached."""


def plain(text: str) -> str:
    """Return a text in lower case and without apostrophes, which people often leave out; word lists are searched in this form."""
    return text.lower().replace("’", "").replace("'", "")


def place_of(words: tuple[str, ...], searched: str) -> int | None:
    """Return the position of the first of the words in a `plain` text, or None if it has none of them.

    Words match at the start of a word. Symbols, and words of a script without spaces, match anywhere.
    """
    texts, pattern = _prepared(words)
    if not any(text in searched for text in texts):  # true of most texts; the expression takes thirty times as long to find nothing
        return None
    match = pattern.search(searched)
    return match.start() if match else None


@cache
def _prepared(words: tuple[str, ...]) -> tuple[list[str], re.Pattern[str]]:
    texts = [text for word in sorted(words, key=len, reverse=True) if (text := plain(word).strip())]
    spaced = [text for text in texts if re.match(r"\w", text) and not UNSPACED.match(text)]
    kinds = ((r"\b", spaced), ("", [text for text in texts if text not in spaced]))
    parts = [f"{begin}(?:{'|'.join(map(re.escape, listed))})" for begin, listed in kinds if listed]
    return texts, re.compile("|".join(parts) or r"(?!)")  # an empty list of words matches nothing


class TopicSearch:
    """Search for the subtopics of a taxonomy in texts, by their words; results are cached, because a text is often searched again."""

    def __init__(self, taxonomy: Taxonomy) -> None:
        """Store the subtopics' words."""
        self._words = {name: tuple(subtopic.words) for group in taxonomy.topics.values() for name, subtopic in group.subtopics.items()}
        self._positions: dict[str, dict[str, int]] = {}

    def find(self, text: str) -> dict[str, int]:
        """Return the subtopics in a text and the position of the first word of each, in order of appearance."""
        if text not in self._positions:
            if len(self._positions) >= CACHE_SIZE:
                self._positions.clear()
            searched = plain(text)
            positions = {name: place for name, words in self._words.items() if (place := place_of(words, searched)) is not None}
            self._positions[text] = dict(sorted(positions.items(), key=lambda item: item[1]))
        return self._positions[text]

    def count(self, text: str, topic: str) -> int:
        """Return how often a subtopic's words occur in a text."""
        _, pattern = _prepared(self._words[topic])
        return len(pattern.findall(plain(text)))
