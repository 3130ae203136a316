"""The schemas of `life.yaml` and `services.yaml`: what personas live on, where, and whom to call there."""

from datetime import date

from pydantic import Field, model_validator

from core.packs.taxonomy import NotWith, Text, Weight, sums_to_one
from core.yaml_files import Strict


class Country(Strict):
    """Where a persona may live.

    Args:
        english: how English is written there: spelling, idiom, institutions, money.
        places: towns and landscapes.
    """

    weight: Weight
    name: Text
    english: Text
    places: list[Text] = Field(min_length=1)


class Event(Strict):
    """Something that happens between two messages."""

    text: Text
    not_with: NotWith = Field(default_factory=dict)


class Life(Strict):
    """`life.yaml`.

    Args:
        by: the dimension that facts may depend on.
        facts: of each, one text is drawn: from a list, or from the list of the persona's value of `by`.
    """

    by: str | None = None
    facts: dict[str, list[Text] | dict[str, list[Text]]] = Field(default_factory=dict)
    countries: dict[str, Country] = Field(default_factory=dict)
    events: list[Event] = Field(default_factory=list)

    @model_validator(mode="after")
    def _whole(self) -> "Life":
        if self.countries:
            sums_to_one("countries", {name: country.weight for name, country in self.countries.items()})
        for name, texts in self.facts.items():
            if isinstance(texts, dict) and self.by is None:
                raise ValueError(f"facts.{name} depends on a dimension; name it in `by`")
            if not all(texts.values() if isinstance(texts, dict) else [texts]):
                raise ValueError(f"facts.{name} has an empty list; write at least one text")
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
