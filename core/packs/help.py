"""`help.yaml`: the kinds of help that an assistant gives, by the words that give them away, and how long its answers are."""

from functools import cached_property, lru_cache
from typing import Annotated

from pydantic import Field, model_validator

from core.packs.taxonomy import Text, Word
from core.packs.word_search import place_of, plain
from core.quantities import Ratio, Ratios, Words
from core.yaml_files import Strict


class Kind(Strict):
    """A kind of help.

    Args:
        label: as the rest of a sentence such as "Lately you gave …".
        words: lower-case beginnings of words that give it away; the kind without any is that of an answer in which nothing else is found.
        suggests: whether a sentence with them is a suggestion, which is to be followed up.
    """

    label: Text
    words: tuple[Word, ...] = ()
    suggests: bool = False


class Length(Strict):
    """How many words an answer has, in proportion to the message's.

    Args:
        target: from and to; most: beyond which an answer is written again.
        floor: words that a shorter message counts as.
    """

    target: Ratios = (1.0, 1.5)
    most: Annotated[Ratio, Field(ge=1)] = 2.0
    floor: Words = 15

    @model_validator(mode="after")
    def _within(self) -> "Length":
        if not 0 < self.target[0] <= self.target[1] <= self.most:
            raise ValueError(f"the target {list(self.target)} must be above 0 and at most `most`, {self.most:g}, beyond which an answer is written again")
        return self

    def bounds(self, message_words: int) -> tuple[int, int, int]:
        """Return the words of an answer to a message: the target's least and most, and the bound."""
        counted = max(self.floor, message_words)
        low, high = self.target
        return round(low * counted), round(high * counted), int(self.most * counted)


class Help(Strict):
    """The whole file; a pack without one has no kinds, and the usual length."""

    kinds: dict[str, Kind] = Field(default_factory=dict, description="An answer is of the first kind that is found in it.")
    uptake: tuple[Word, ...] = Field(default=(), description="Words with which a user comes back to a suggestion; with one word of it they are enough.")
    reports: tuple[Word, ...] = Field(
        default=(), description="Words that open a plain report ('Rang at eight'); with one word from around the suggestion they are enough."
    )
    length: Length = Length()

    def kind_of(self, answer: str) -> str | None:
        """Return the name of an answer's kind; none where none is found."""
        return _kind_of(self._words, answer)

    @cached_property
    def _words(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((name, kind.words) for name, kind in self.kinds.items())

    def comes_back(self, sentence: str) -> bool:
        """Say whether a user's sentence has words with which one comes back to a suggestion."""
        return place_of(self.uptake, plain(sentence)) is not None

    def reports_back(self, sentence: str) -> bool:
        """Say whether a user's sentence opens as a plain report of something done."""
        return place_of(self.reports, plain(sentence).lstrip()) == 0

    @cached_property
    def suggesting(self) -> tuple[str, ...]:
        """Words of a sentence that suggests something to do."""
        return tuple(word for kind in self.kinds.values() if kind.suggests for word in kind.words)


@lru_cache(maxsize=4096)  # each answer is read again for every later one of its conversation
def _kind_of(kinds: tuple[tuple[str, tuple[str, ...]], ...], answer: str) -> str | None:
    searched = plain(answer)
    named = (name for name, words in kinds if place_of(words, searched) is not None)
    return next(named, next((name for name, words in kinds if not words), None))
