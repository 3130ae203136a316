"""Ordinary English to compare a model's phrases with: `config/ordinary_english.txt`, plain prose on many subjects, written for this purpose."""

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from core.errors import SettingsError
from core.judging.text_facts import sentences, words
from core.paths import find_data
from core.text_files import read_text

GRAM = 3
"""Words of the runs that are counted."""

ENGLISH = 0.4
"""Share of a text's words that stand in the reference from which it is English. Coaching and programming talk has 0.75 and more, Dutch and German 0.12."""

FILE = "config/ordinary_english.txt"


@dataclass(frozen=True)
class Ordinary:
    """How often each run of three words, and each word, stands in the reference.

    Args:
        total: words of the reference.
    """

    grams: Counter[str]
    words: Counter[str]
    total: int

    def known(self, said: Iterable[str]) -> int:
        """Return how many of some words stand in the reference."""
        return sum(word in self.words for word in said)

    def expected(self, phrase: str) -> float:
        """Return how many times per word a phrase of three words or more is to be expected: that of its rarest run, one unseen use added."""
        return (min((self.grams[gram] for gram in runs(phrase, GRAM)), default=0) + 1) / self.total


@cache
def ordinary_english() -> Ordinary:
    """Return the counts of the reference.

    Raises:
        SettingsError: its file is missing or no text.
    """
    text = read_text(find_data(FILE), SettingsError)
    counted = Counter(words(text))
    return Ordinary(Counter(runs(text, GRAM)), counted, counted.total())


def runs(text: str, *sizes: int) -> Iterator[str]:
    """Return the runs of so many words, of each size, that stand within a sentence of a text."""
    for sentence in sentences(text.replace("’", "'")):
        said = words(sentence)
        yield from (" ".join(said[start : start + size]) for size in sizes for start in range(len(said) - size + 1))
