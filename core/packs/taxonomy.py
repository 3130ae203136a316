"""The schemas of `input-taxonomy.yaml` and `flaw-taxonomy.yaml`: the values from which personas are drawn."""

import re
from collections.abc import Collection, Mapping, Sequence
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from core.quantities import DayRange, ExchangeRange, Exchanges, Factor, Part, Share, Shares, WholeRange, WordRange
from core.yaml_files import Strict

Weight = Part
Text = Annotated[str, Field(min_length=1)]


def _is_searched(word: str) -> str:
    if not re.search(r"[^\s'’]", word):
        raise ValueError("apostrophes and spaces are not searched for; write a word")
    return word


Word = Annotated[Text, AfterValidator(_is_searched)]
"""The beginning of a word that shows something in a text (core/packs/word_search.py)."""
TOLERANCE = 1e-6
"""Maximum deviation of a sum of weights from 1."""

Cooperation = Literal["engage", "partial", "push_back", "ignore"]
"""A user's reaction to the assistant's last answer."""

NotWith = Annotated[dict[str, list[str]], Field(description="Values of dimensions that exclude it.")]


class _Topic(Strict):
    @model_validator(mode="before")
    @classmethod
    def _no_edge_case(cls, value: Any) -> Any:
        if isinstance(value, dict) and "edge_case" in value:
            raise ValueError(
                "has `edge_case`, a key of version 0.1: edge cases are episodes now. Remove the key; where it was true, remove the topic as well and write its "
                "subtopics as episodes in episodes.yaml (docs/domain-packs.md)"
            )
        return value


class Subtopic(_Topic):
    """A matter that a persona may bring up; `words` show it in a text."""

    description: Text
    words: list[Word] = Field(min_length=1)
    not_with: NotWith = Field(default_factory=dict)
    exercises: list[str] = Field(default_factory=list, description="Clauses of criteria that it exercises, such as CQ8.dose.")


class TopicGroup(_Topic):
    """A topic and its subtopics, which are equally likely."""

    weight: Weight
    label: Text
    subtopics: dict[str, Subtopic] = Field(min_length=1)


class Course(Strict):
    """Probability of each mood at a conversation's beginning and at its end; in between, it is interpolated."""

    begin: dict[str, Share]
    end: dict[str, Share]


class Value(Strict):
    """One value of a dimension.

    Args:
        weight: probability of the value. If the dimension depends on another one, a probability for each value of that dimension.
        words: for a writing style, minimum and maximum length of a message in words.
        days: for a cadence, minimum and maximum days between two messages.
        moods: for a trajectory, the probabilities of moods.
        cooperation: factors for the weights of a user's reactions to an answer; a trajectory's have their full effect at its end.
    """

    weight: Weight | dict[str, Share]
    description: Text
    words: WordRange | None = None
    days: DayRange | None = None
    moods: Course | None = None
    cooperation: dict[Cooperation, Factor] = Field(default_factory=dict)


class LengthClass(Strict):
    """A class of conversations by their length.

    Args:
        weight: probability of the class.
        exchanges: range from which a conversation's length is drawn evenly.
        topics: minimum and maximum topics of a persona; None takes `topics_per_persona`.
        events: minimum and maximum events between a persona's messages.
    """

    weight: Weight
    exchanges: ExchangeRange
    topics: WholeRange | None = None
    events: WholeRange = (0, 0)


class Taxonomy(Strict):
    """`input-taxonomy.yaml`.

    Args:
        moods: the moods of a day, each described in a sentence.
        depends: for a dimension, the dimension on which its weights depend.
        topics_per_persona: minimum and maximum topics of a persona.
        names: names of personas whose country has no list of names.
    """

    topics: dict[str, TopicGroup] = Field(min_length=1)
    moods: dict[str, Text] = Field(min_length=1)
    dimensions: dict[str, dict[str, Value]]
    depends: dict[str, str] = Field(default_factory=dict)
    length_classes: dict[str, LengthClass] = Field(min_length=1)
    topics_per_persona: WholeRange
    names: list[Text] = Field(min_length=2)

    @model_validator(mode="after")
    def _whole(self) -> "Taxonomy":
        sums_to_one("topics", {name: group.weight for name, group in self.topics.items()})
        sums_to_one("length_classes", {name: item.weight for name, item in self.length_classes.items()})
        self._check_dimensions()
        names = [name for group in self.topics.values() for name in group.subtopics]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"topics: the subtopics {repeated} are in two topics; each name may be used once")
        kinds = {name: kind.not_with for group in self.topics.values() for name, kind in group.subtopics.items()}
        check_not_with("topics", kinds, self)
        free = sum(not not_with for not_with in kinds.values())
        ranges = {"topics_per_persona": self.topics_per_persona}
        ranges |= {f"length_classes.{name}.topics": item.topics for name, item in self.length_classes.items() if item.topics}
        for place, (low, high) in ranges.items():
            if not 1 <= low <= high <= free:
                raise ValueError(f"{place} must lie between 1 and the {free} subtopics that go with everyone, found {low} and {high}")
        return self

    def _check_dimensions(self) -> None:
        for required, what in (("trajectory", "moods"), ("writing_style", "words")):
            if required not in self.dimensions:
                raise ValueError(f"dimensions.{required} is missing; every pack has it")
            if without := sorted(name for name, value in self.dimensions[required].items() if getattr(value, what) is None):
                raise ValueError(f"dimensions.{required}: {without} need `{what}`")
        for dimension, other in self.depends.items():
            if dimension not in self.dimensions or other not in self.dimensions or other in self.depends:
                raise ValueError(f"depends.{dimension} names {other!r}; allowed are two dimensions, of which the second depends on none")
        for dimension in self.dimensions:
            for condition, weights in self._weights(dimension).items():
                sums_to_one(f"dimensions.{dimension}{condition and f' for {condition}'}", weights)
        for name, value in self.dimensions["trajectory"].items():
            for end, moods in value.moods.model_dump().items() if value.moods else ():
                if unknown := sorted(set(moods) - set(self.moods)):
                    raise ValueError(f"dimensions.trajectory.{name}.moods.{end} names {unknown}; allowed: {', '.join(self.moods)}")
                sums_to_one(f"dimensions.trajectory.{name}.moods.{end}", moods)

    @property
    def subtopics(self) -> dict[str, Subtopic]:
        """All subtopics by name."""
        return {name: item for group in self.topics.values() for name, item in group.subtopics.items()}

    def length_class(self, exchanges: int) -> LengthClass:
        """Return the class of a length in exchanges, or the nearest class if none contains it."""
        return min(self.length_classes.values(), key=lambda item: max(item.exchanges[0] - exchanges, exchanges - item.exchanges[1], 0))

    def weights(self, dimension: str, drawn: Mapping[str, str]) -> dict[str, float]:
        """Return the weights of a dimension's values.

        Args:
            dimension: name of the dimension.
            drawn: the persona's values of the other dimensions.
        """
        condition = drawn[self.depends[dimension]] if dimension in self.depends else ""
        return {value: item.weight[condition] if isinstance(item.weight, dict) else item.weight for value, item in self.dimensions[dimension].items()}

    def _weights(self, dimension: str) -> dict[str, dict[str, float]]:
        """Return a dimension's weights for each value of the dimension that it depends on; under an empty name if it depends on none."""
        values, by = self.dimensions[dimension], self.depends.get(dimension)
        conditions = list(self.dimensions[by]) if by else [""]
        by_condition: dict[str, dict[str, float]] = {name: {} for name in conditions}
        for value, item in values.items():
            weights = item.weight if isinstance(item.weight, dict) else {"": item.weight}
            if set(weights) != set(conditions):
                allowed = f"a weight for each of {', '.join(conditions)} (depends.{dimension})" if by else f"a number, or depends.{dimension} above"
                raise ValueError(f"dimensions.{dimension}.{value}.weight must be {allowed}")
            for name, weight in weights.items():
                by_condition[name][value] = weight
        return by_condition


class FlawKind(Strict):
    """A human flaw and how it is played.

    Args:
        weight: probability of the flaw among all flaws.
        from_exchange: number of the first message that can show it; a flaw about earlier messages cannot show in the first.
        words: words that show the flaw in a text; may be empty.
    """

    weight: Weight
    from_exchange: Exchanges = 1
    description: Text
    examples: list[Text] = Field(min_length=1)
    notes: Text
    words: list[Word] = Field(default_factory=list)
    not_with: NotWith = Field(default_factory=dict)


class Flaws(Strict):
    """`flaw-taxonomy.yaml`: flaws by category, how many a persona has and how often each shows.

    Args:
        none_share: share of personas without a flaw.
        secondary: minimum and maximum secondary flaws of a persona with flaws.
        primary_shows: share of messages that show the primary flaw.
        secondary_shows: range of the share of messages that show a secondary flaw.
    """

    none_share: Share
    secondary: WholeRange
    primary_shows: Share
    secondary_shows: Shares
    cooperation: dict[Cooperation, Weight] = Field(description="A user's reactions to the assistant's last answer; weights sum to 1.")
    categories: dict[str, dict[str, FlawKind]] = Field(min_length=1)

    @model_validator(mode="after")
    def _whole(self) -> "Flaws":
        kinds = self.kinds
        if len(kinds) != sum(len(flaws) for flaws in self.categories.values()):
            raise ValueError("a flaw's name is in two categories; each name may be used once")
        sums_to_one("categories (all flaws together)", {name: kind.weight for name, kind in kinds.items()})
        sums_to_one("cooperation", dict(self.cooperation))
        free = sum(not kind.not_with for kind in kinds.values())
        if self.secondary[1] >= free:
            raise ValueError(f"secondary asks for up to {self.secondary[1]} flaws besides the primary one; there are {free} that go with everyone")
        return self

    @property
    def kinds(self) -> dict[str, FlawKind]:
        """All flaws by name."""
        return {name: kind for flaws in self.categories.values() for name, kind in flaws.items()}


def check_not_with(place: str, kinds: Mapping[str, Mapping[str, Sequence[str]]], taxonomy: Taxonomy, more: Mapping[str, Collection[str]] | None = None) -> None:
    """Check that each `not_with` names dimensions and their values.

    Args:
        place: file or key, for the error.
        kinds: each `not_with` by the name of its owner.
        more: further keys that are allowed, with their allowed values.

    Raises:
        ValueError: a `not_with` names an unknown dimension or value.
    """
    known: dict[str, Collection[str]] = {**taxonomy.dimensions, **(more or {})}
    for name, not_with in kinds.items():
        for dimension, values in not_with.items():
            if dimension not in known:
                raise ValueError(f"{place}: {name}.not_with names the dimension {dimension!r}; allowed: {', '.join(known)}")
            if unknown := sorted(set(values) - set(known[dimension])):
                raise ValueError(f"{place}: {name}.not_with.{dimension} names {unknown}; allowed: {', '.join(known[dimension])}")


def goes_with(not_with: Mapping[str, Sequence[str]], drawn: Mapping[str, str]) -> bool:
    """Return whether none of a persona's values of the dimensions is excluded by a `not_with`."""
    return not not_with or not any(drawn.get(dimension) in values for dimension, values in not_with.items())


def sums_to_one(place: str, weights: Mapping[str, float]) -> None:
    """Raise `ValueError` if weights do not sum to 1."""
    if not weights:
        raise ValueError(f"{place} is empty; name at least one, with a weight")
    total = sum(weights.values())
    if abs(total - 1) > TOLERANCE:
        raise ValueError(f"{place}: the weights must sum to 1, found {total:.4g}; change one of {', '.join(weights)}")
