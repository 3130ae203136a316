"""Finding topics and kinds of words in a text, by the pack's lists."""

import re
from functools import cache

from core.pack import Pack


class Lexicon:
    """The word lists of a pack, ready to search with. Words match at word starts, so that `worr` finds `worrying`."""

    def __init__(self, pack: Pack) -> None:
        """Take the topics' words and the lists of `scripted.yaml`."""
        lists = pack.phrases.words.model_dump() if pack.phrases else {}
        self._lists = {name: pattern(tuple(words)) for name, words in lists.items()}
        self._topics = {name: pattern(tuple(subtopic.words)) for group in pack.taxonomy.topics.values() for name, subtopic in group.subtopics.items()}
        self._found: dict[str, dict[str, int]] = {}
        self._had: dict[tuple[str, str], bool] = {}

    def has(self, kind: str, text: str) -> bool:
        """Say whether a text has a word of a list such as `feeling` or `harm`."""
        if (kind, text) not in self._had:
            self._had[kind, text] = bool(self._lists[kind].search(plain(text)))
        return self._had[kind, text]

    def topics(self, text: str) -> dict[str, int]:
        """Return the subtopics that a text touches and the position where each first shows, in order of appearance."""
        if text not in self._found:
            searched = plain(text)
            found = {name: match.start() for name, pattern in self._topics.items() if (match := pattern.search(searched))}
            self._found[text] = dict(sorted(found.items(), key=lambda item: item[1]))
        return self._found[text]

    def mentions(self, text: str, topic: str) -> int:
        """Count how often a subtopic's words occur in a text."""
        return len(self._topics[topic].findall(plain(text)))


def plain(text: str) -> str:
    """Return a text as the lists are searched in it."""
    return text.lower().replace("’", "").replace("'", "")  # people leave them out


@cache
def pattern(words: tuple[str, ...]) -> re.Pattern[str]:
    """Return what finds any of some lower-case words at a word's start."""
    if not words:
        return re.compile(r"(?!)")  # matches nothing
    return re.compile(r"\b(?:" + "|".join(re.escape(plain(word)) for word in sorted(words, key=len, reverse=True)) + ")")
