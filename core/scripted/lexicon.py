"""Finding topics and kinds of words in a text, by the pack's lists."""

import re
from collections.abc import Sequence
from functools import cache

from core.pack import Pack


class Lexicon:
    """The word lists of a pack, ready to search with. Words match at word starts, so that `worr` finds `worrying`."""

    def __init__(self, pack: Pack) -> None:
        """Take the topics' words and the lists of `scripted.yaml`."""
        lists = pack.phrases.words.model_dump() if pack.phrases else {}
        self._lists = {name: tuple(words) for name, words in lists.items()}
        self._topics = {name: tuple(subtopic.words) for group in pack.taxonomy.topics.values() for name, subtopic in group.subtopics.items()}

    def has(self, kind: str, text: str) -> bool:
        """Say whether a text has a word of a list such as `feeling` or `harm`."""
        return bool(_pattern(self._lists[kind]).search(_plain(text)))

    def topics(self, text: str) -> dict[str, int]:
        """Return the subtopics that a text touches and the position where each first shows, in order of appearance."""
        plain = _plain(text)
        found = {name: match.start() for name, words in self._topics.items() if (match := _pattern(words).search(plain))}
        return dict(sorted(found.items(), key=lambda item: item[1]))

    def mentions(self, text: str, topic: str) -> int:
        """Count how often a subtopic's words occur in a text."""
        return len(_pattern(self._topics[topic]).findall(_plain(text)))


def sentences(text: str) -> list[str]:
    """Split a text into sentences and lines."""
    return [part.strip() for part in re.split(r"(?<=[.!?])\s+|\n+", text) if part.strip()]


def _plain(text: str) -> str:
    return text.lower().replace("’", "'")


@cache
def _pattern(words: Sequence[str]) -> re.Pattern[str]:
    return re.compile(r"\b(?:" + "|".join(re.escape(word.lower()) for word in sorted(words, key=len, reverse=True)) + ")")
