"""Finding topics and kinds of words in a text, by the pack's lists."""

from core.packs.pack import Pack
from core.packs.word_search import TopicSearch, place_of, plain


class Lexicon:
    """The word lists of a pack, ready to search with. Words match at word starts, so that `worr` finds `worrying`."""

    def __init__(self, pack: Pack) -> None:
        """Take the topics' words and the lists of `scripted.yaml`."""
        lists = pack.phrases.words.model_dump() if pack.phrases else {}
        self._lists = {name: tuple(words) for name, words in lists.items()}
        self._topics = TopicSearch(pack.taxonomy)
        self._episodes = tuple(word for kind in pack.episodes.episodes.values() for word in kind.words)
        self._had: dict[tuple[str, str], bool] = {}

    def has(self, kind: str, text: str) -> bool:
        """Say whether a text has a word of a list such as `feeling` or `harm`."""
        if (kind, text) not in self._had:
            self._had[kind, text] = place_of(self._lists[kind], plain(text)) is not None
        return self._had[kind, text]

    def in_episode(self, text: str) -> bool:
        """Say whether a text has a word that gives an episode away."""
        return place_of(self._episodes, plain(text)) is not None

    def topics(self, text: str) -> dict[str, int]:
        """Return the subtopics that a text touches and the position where each first shows, in order of appearance."""
        return self._topics.find(text)

    def mentions(self, text: str, topic: str) -> int:
        """Count how often a subtopic's words occur in a text."""
        return self._topics.count(text, topic)
