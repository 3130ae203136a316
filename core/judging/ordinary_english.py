"""A reference of ordinary English to compare a model's phrases with: `config/ordinary_english.txt`, plain prose on many subjects, written for this purpose."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from core.errors import SettingsError
from core.judging.text_facts import sentences, words
from core.paths import find_data
from core.text_files import read_text

GRAM = 3
"""Length in words of the runs that are counted."""

ENGLISH = 0.4
"""Share of a text's words that occur in the reference, from which the text is taken to be English. Talk about coaching or programming has at least 0.75,
Dutch and German have 0.12."""

FILE = "config/ordinary_english.txt"


@dataclass(frozen=True)
class Ordinary:
    """The number of times that each run of three words, and each word, occurs in the reference.

    Args:
        total: number of words in the reference.
    """

    grams: Counter[str]
    words: Counter[str]
    total: int

    def known(self, text_words: Iterable[str]) -> int:
        """Return how many of these words occur in the reference."""
        return sum(word in self.words for word in text_words)

    def expected(self, phrase: str) -> float:
        """Return the expected uses per word of a phrase of three words or more: the frequency of its rarest run, with one unseen use added."""
        return (min((self.grams[gram] for gram in runs(phrase, GRAM)), default=0) + 1) / self.total


@cache
def ordinary_english() -> Ordinary:
    """Return the counts of the reference.

    Raises:
        SettingsError: the file is missing, or is not text.
    """
    text = read_text(find_data(FILE), SettingsError)
    counted = Counter(words(text))
    return Ordinary(Counter(runs(text, GRAM)), counted, counted.total())


def runs(text: str, *sizes: int) -> Iterator[str]:
    """Yield the runs of words within the sentences of a text.

    Args:
        sizes: lengths of the runs, in words.
    """
    for sentence in sentences(text):
        sentence_words = words(sentence)
        yield from (" ".join(sentence_words[start : start + size]) for size in sizes for start in range(len(sentence_words) - size + 1))
