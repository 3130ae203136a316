"""Search of texts for topics and for the word lists of a pack."""

from core.packs.pack import Pack
from core.packs.word_search import TopicSearch, place_of, plain


class Lexicon:
    """The word lists of a pack, prepared for searches. Words match at word starts, so `worr` finds `worrying`."""

    def __init__(self, pack: Pack) -> None:
        """Store the topics' words and the lists of `scripted.yaml`."""
        lists = pack.phrases.words.model_dump() if pack.phrases else {}
        self._lists = {name: tuple(words) for name, words in lists.items()}
        self._topics = TopicSearch(pack.taxonomy)
        self._episodes = tuple(word for kind in pack.episodes.episodes.values() for word in kind.words)
        self._cache: dict[tuple[str, str], bool] = {}

    def has(self, kind: str, text: str) -> bool:
        """Return whether a text has a word of a list such as `feeling` or `harm`."""
        if (kind, text) not in self._cache:
            self._cache[kind, text] = place_of(self._lists[kind], plain(text)) is not None
        return self._cache[kind, text]

    def in_episode(self, text: str) -> bool:
        """Return whether a text has a word that shows an episode."""
        return place_of(self._episodes, plain(text)) is not None

    def topics(self, text: str) -> dict[str, int]:
        """Return the subtopics in a text and the position of the first word of each, in order of appearance."""
        return self._topics.find(text)

    def mentions(self, text: str, topic: str) -> int:
        """Return how often a subtopic's words occur in a text."""
        return self._topics.count(text, topic)
