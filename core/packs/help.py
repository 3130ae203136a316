"""The schema of `help.yaml`: the kinds of help that an assistant gives, the words that show them, and the length of answers."""

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
        label: the end of a sentence such as "Lately you gave …".
        words: lower-case beginnings of words that show the kind. A kind without words is that of an answer in which no other kind is found.
        suggests: whether a sentence with one of the words is a suggestion, which needs a follow-up.
    """

    label: Text
    words: tuple[Word, ...] = ()
    suggests: bool = False


class Length(Strict):
    """The length of an answer in proportion to the message's, both in words.

    Args:
        target: lowest and highest ratio that the assistant should keep to.
        most: ratio above which an answer is written again.
        floor: a message with fewer words is treated as if it had this many.
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
        """Return the lowest and highest target length and the maximum length of an answer to a message, in words."""
        counted = max(self.floor, message_words)
        low, high = self.target
        return round(low * counted), round(high * counted), int(self.most * counted)


class Help(Strict):
    """`help.yaml`; a pack without this file has no kinds and the default length."""

    kinds: dict[str, Kind] = Field(default_factory=dict, description="An answer is of the first kind that is found in it.")
    uptake: tuple[Word, ...] = Field(
        default=(), description="Words with which a user comes back to a suggestion. A sentence with one of them and one word of the suggestion is enough."
    )
    reports: tuple[Word, ...] = Field(
        default=(),
        description="Words that open a plain report ('Rang at eight'). A sentence with one of them and one word of the suggestion's paragraph is enough.",
    )
    length: Length = Length()

    def kind_of(self, answer: str) -> str | None:
        """Return the name of an answer's kind, or None if no kind is found."""
        return _kind_of(self._words, answer)

    @cached_property
    def _words(self) -> tuple[tuple[str, tuple[str, ...]], ...]:
        return tuple((name, kind.words) for name, kind in self.kinds.items())

    def comes_back(self, sentence: str) -> bool:
        """Return whether a user's sentence has a word with which users come back to a suggestion."""
        return place_of(self.uptake, plain(sentence)) is not None

    def reports_back(self, sentence: str) -> bool:
        """Return whether a user's sentence opens like a plain report of something done."""
        return place_of(self.reports, plain(sentence).lstrip()) == 0

    @cached_property
    def suggesting(self) -> tuple[str, ...]:
        """Words of all kinds whose sentences are suggestions."""
        return tuple(word for kind in self.kinds.values() if kind.suggests for word in kind.words)


@lru_cache(maxsize=4096)  # each answer is searched again for every later one of its conversation
def _kind_of(kinds: tuple[tuple[str, tuple[str, ...]], ...], answer: str) -> str | None:
    searched = plain(answer)
    named = (name for name, words in kinds if place_of(words, searched) is not None)
    return next(named, next((name for name, words in kinds if not words), None))
