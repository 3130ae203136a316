"""The schema of `tics.yaml`: figures of speech and phrases that an assistant overuses, each with a limit, and the search for them in messages."""

import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property, lru_cache
from typing import Any

from pydantic import Field, model_validator

from core.packs.guards import Pattern, finder, finder_of_each
from core.packs.taxonomy import Text
from core.quantities import Share
from core.yaml_files import Strict

_CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`", re.DOTALL)
_QUOTATION = re.compile(r'"[^"\n]{1,600}"|(?<![*\w])\*(?!\*)[^*\n]{25,600}\*|^>.*$', re.MULTILINE)
_EMPHASIS = re.compile(r"(?<!\*)\*(?!\*)")
_STRAIGHT = str.maketrans({"’": "'", "“": '"', "”": '"', "„": '"'})


class Figure(Strict):
    """A figure of speech or a phrase.

    Args:
        example: a sentence with the figure, shown in the assistant's prompts, to judges and on cards.
        pattern: RE2 expression that finds it; case is ignored.
        answers: maximum share of a conversation's answers with the figure; 0 forbids it.
        transcripts: maximum share of a dataset's transcripts with the figure.
    """

    name: Text
    example: Text
    pattern: Pattern
    answers: Share
    transcripts: Share

    @model_validator(mode="after")
    def _finds_its_example(self) -> "Figure":
        if not _compiled(self.pattern).search(spoken_part(self.example)):
            raise ValueError(f"the pattern of {self.name} does not find its example {self.example!r}")
        return self

    def over(self, uses: int, answers: int) -> bool:
        """Return whether one more use exceeds the limit; the first use is always within it, unless the figure is forbidden.

        Args:
            uses: number of answers so far with the figure.
            answers: number of all answers so far.
        """
        return self.answers == 0 or uses + 1 > 1 + self.answers * answers


class Tics(Strict):
    """`tics.yaml`."""

    figures: tuple[Figure, ...] = Field(default=(), description="Figures of speech and phrases.")

    @model_validator(mode="after")
    def _apart(self) -> "Tics":
        names = [figure.name for figure in self.figures]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"figures: {twice} are named twice; each figure needs a different name")
        return self

    def search(self, text: str) -> dict[str, str]:
        """Return the figures in a message by name, each with the words that match its pattern."""
        return dict(_search(self._patterns, text))

    @cached_property
    def _patterns(self) -> tuple[tuple[str, str], ...]:
        return tuple((figure.name, figure.pattern) for figure in self.figures)


@lru_cache(maxsize=4096)  # each answer is searched again for every later one of its conversation
def _search(patterns: tuple[tuple[str, str], ...], text: str) -> tuple[tuple[str, str], ...]:
    spoken = spoken_part(text)
    matches = (patterns[place] for place in sorted(_all_in_one(patterns).Match(spoken) or ()))
    return tuple((name, " ".join(_compiled(pattern).search(spoken).group().split())) for name, pattern in matches)


@lru_cache(maxsize=8)
def _all_in_one(patterns: tuple[tuple[str, str], ...]) -> Any:
    return finder_of_each([pattern for _, pattern in patterns], flags="i")


@lru_cache(maxsize=512)
def _compiled(pattern: str) -> Any:
    return finder(pattern, flags="i")


def spoken_part(text: str) -> str:
    """Return a message's own words, with straight quotation marks: without code, quotations and proposed wordings."""
    return _EMPHASIS.sub("", _QUOTATION.sub('""', _CODE.sub(" ", text.translate(_STRAIGHT))))


def used_up(tics: Tics, answers: Sequence[str]) -> list[Figure]:
    """Return the figures that the next answer must avoid because of their use in earlier answers; figures that are always forbidden are excluded."""
    uses = Counter(name for text in answers for name in tics.search(text))
    return [figure for figure in tics.figures if figure.answers and figure.over(uses[figure.name], len(answers))]


def first_over(tics: Tics, text: str, earlier: Sequence[str]) -> tuple[Figure, str] | None:
    """Return the first figure that an answer may not use, with the matching words, or None.

    Args:
        text: the answer.
        earlier: the answers before it.
    """
    if not (matches := tics.search(text)):
        return None
    closed = {figure.name for figure in used_up(tics, earlier)}
    return next(((figure, matches[figure.name]) for figure in tics.figures if figure.name in matches and (not figure.answers or figure.name in closed)), None)
