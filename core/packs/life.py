"""The schemas of `life.yaml` and `services.yaml`: what personas live on, where, and whom to call there."""

from collections.abc import Collection, Mapping
from datetime import date
from typing import Annotated

from pydantic import BeforeValidator, Field, model_validator

from core.packs.taxonomy import NotWith, Text, Weight, Word, goes_with, sums_to_one
from core.yaml_files import Strict

TOPIC = "topic"
"""In `not_with`, beside the names of dimensions: subtopics."""


class Country(Strict):
    """Where a persona may live.

    Args:
        english: how English is written there: spelling, idiom, institutions, money.
        places: towns and landscapes.
        words: that give away a text from there, as those of a subtopic do.
        names: given names of people who live there; those of the taxonomy where there are none.
    """

    weight: Weight
    name: Text
    english: Text
    places: list[Text] = Field(min_length=1)
    words: list[Word] = Field(default_factory=list)
    names: list[Text] = Field(default_factory=list)


class Detail(Strict):
    """A fact of a life, or something that happens between two messages.

    Args:
        not_with: values of dimensions, and under `topic` subtopics, that it would contradict.
    """

    text: Text
    not_with: NotWith = Field(default_factory=dict)

    def suits(self, drawn: Mapping[str, str], topics: Collection[str]) -> bool:
        """Say whether it goes together with what a persona has of the dimensions, and with its subtopics."""
        return not self.not_with or (goes_with(self.not_with, drawn) and not set(topics) & set(self.not_with.get(TOPIC, ())))


def _detail(given: object) -> object:
    return {"text": given} if isinstance(given, str) else given


Details = list[Annotated[Detail, BeforeValidator(_detail)]]
"""Each a text, or a mapping with `text` and `not_with`."""


class Life(Strict):
    """`life.yaml`.

    Args:
        by: the dimension that facts may depend on.
        facts: of each, one text is drawn that goes with the persona: from a list, or from the list of the persona's value of `by`.
    """

    by: str | None = None
    facts: dict[str, Details | dict[str, Details]] = Field(default_factory=dict)
    countries: dict[str, Country] = Field(default_factory=dict)
    events: Details = Field(default_factory=list)

    @property
    def details(self) -> list[Detail]:
        """All facts and events."""
        lists = [own for texts in self.facts.values() for own in (texts.values() if isinstance(texts, dict) else [texts])]
        return [detail for own in [*lists, self.events] for detail in own]

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
            if not all(any(not text.not_with for text in own) for own in (texts.values() if isinstance(texts, dict) else [texts])):
                raise ValueError(f"facts.{name} has a list without a text that goes with everybody; write at least one that has no `not_with`")
        return self


class Services(Strict):
    """`services.yaml`: whom a person in danger can call, by the country they live in.

    Args:
        checked: when somebody last looked each of them up.
        unknown: what is named where the country is not known.
        countries: the same names as in `life.yaml`.
    """

    checked: date
    unknown: Text
    countries: dict[str, Text] = Field(min_length=1)
