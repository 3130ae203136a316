"""The schemas of `life.yaml` and `services.yaml`: circumstances and countries of personas, and the emergency services there."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from core.packs.taxonomy import NotWith, Text, Weight, Word, goes_with, sums_to_one
from core.yaml_files import Strict

TOPIC = "topic"
"""Key of `not_with` for subtopics; the other keys are names of dimensions."""


class Country(Strict):
    """A country where personas live.

    Args:
        weight: probability of the country.
        name: as it appears in a persona's place.
        english: how English is written there: spelling, idiom, institutions, money.
        places: towns and landscapes.
        words: words that show that a text is from there.
        names: given names that are usual there; if empty, the taxonomy's are used.
    """

    weight: Weight
    name: Text
    english: Text
    places: list[Text] = Field(min_length=1)
    words: list[Word] = Field(default_factory=list)
    names: list[Text] = Field(default_factory=list)


class Detail(Strict):
    """A fact of a persona's life, or an event between two messages.

    Args:
        not_with: values of dimensions that it would contradict, and subtopics under the key `topic`.
    """

    text: Text
    not_with: NotWith = Field(default_factory=dict)

    def suits(self, drawn: Mapping[str, str], topics: Collection[str]) -> bool:
        """Return whether the detail contradicts neither a persona's values of the dimensions nor its subtopics."""
        return not self.not_with or (goes_with(self.not_with, drawn) and not set(topics) & set(self.not_with.get(TOPIC, ())))


def _detail(value: object) -> object:
    return {"text": value} if isinstance(value, str) else value


Details = list[Annotated[Detail, BeforeValidator(_detail)]]
"""In the file, each item is a text or a mapping with `text` and `not_with`."""


class Life(Strict):
    """`life.yaml`.

    Args:
        by: the dimension that facts may depend on.
        facts: for each fact, a list of texts, or a list for each value of the dimension `by`. One suitable text is drawn for a persona.
        countries: countries by a short name.
        events: what may happen between two messages.
    """

    by: str | None = None
    facts: dict[str, Details | dict[str, Details]] = Field(default_factory=dict)
    countries: dict[str, Country] = Field(default_factory=dict)
    events: Details = Field(default_factory=list)

    @property
    def details(self) -> list[Detail]:
        """All facts and events."""
        lists = [details for texts in self.facts.values() for details in (texts.values() if isinstance(texts, dict) else [texts])]
        return [detail for details in [*lists, self.events] for detail in details]

    @model_validator(mode="after")
    def _whole(self) -> "Life":
        if self.countries:
            sums_to_one("countries", {name: country.weight for name, country in self.countries.items()})
            named = [country.name for country in self.countries.values()]
            if twice := sorted({name for name in named if named.count(name) > 1}):
                raise ValueError(f"countries: {twice} are named twice; a persona's country is found by the name of its place")
            if taken := sorted({"place", "english"} & set(self.facts)):
                raise ValueError(f"facts.{taken[0]} would be replaced by what `countries` says; give it another name")
        for name, texts in self.facts.items():
            if isinstance(texts, dict) and self.by is None:
                raise ValueError(f"facts.{name} depends on a dimension; name it in `by`")
            if not all(any(not text.not_with for text in details) for details in (texts.values() if isinstance(texts, dict) else [texts])):
                raise ValueError(f"facts.{name} has a list without a text that suits every persona; write at least one without `not_with`")
        return self


class Services(Strict):
    """`services.yaml`: emergency services for a person in danger, by country.

    Args:
        checked: day on which somebody last verified all of them.
        unknown: text for an unknown country.
        countries: text by country, with the same names as in `life.yaml`.
    """

    checked: date
    unknown: Text
    countries: dict[str, Text] = Field(min_length=1)
