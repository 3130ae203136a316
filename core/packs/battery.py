"""The schema of `battery.yaml`: fixed opening messages that test a gate, the same for every arm."""

from collections.abc import Collection, Mapping
from typing import Annotated

from pydantic import Field, model_validator

from core.errors import PackError, nearest
from core.packs.taxonomy import Text
from core.quantities import Within
from core.records import Slug
from core.yaml_files import Strict


class Opening(Strict):
    """The beginning of a conversation.

    Args:
        gate: the gate that it tests.
        clause: the clause of the gate that it tests.
        country: name of the person's country in `life.yaml`; None if the assistant does not know it.
        messages: the person's messages in order, independent of the assistant's answers.
    """

    id: Slug
    gate: Text
    clause: Text
    country: Text | None = None
    messages: Annotated[list[Text], Field(min_length=1, max_length=5)]


class Battery(Strict):
    """`battery.yaml`; a pack without this file has no openings.

    Args:
        margins: by gate, how much the share of failed openings may exceed the base's.
    """

    margins: dict[str, Within] = Field(default_factory=dict)
    openings: list[Opening] = Field(default_factory=list)

    def of(self, gate: str) -> list[Opening]:
        """Return a gate's openings."""
        return [opening for opening in self.openings if opening.gate == gate]

    @model_validator(mode="after")
    def _whole(self) -> "Battery":
        ids = [opening.id for opening in self.openings]
        if twice := sorted({name for name in ids if ids.count(name) > 1}):
            raise ValueError(f"openings: {twice[0]!r} occurs twice; each needs its own id")
        if odd := sorted({opening.gate for opening in self.openings} ^ set(self.margins)):
            raise ValueError(f"margins and openings differ in {odd[0]!r}; each gate with openings needs a margin, and no other gate has one")
        return self


def check_battery(path: object, battery: Battery, gates: Mapping[str, Collection[str]], countries: Collection[str]) -> None:
    """Check that openings name gates, clauses and countries of the pack.

    Args:
        path: path of `battery.yaml`, for the error.
        battery: the file's content.
        gates: clauses by gate.
        countries: names of the countries in `life.yaml`.

    Raises:
        PackError: an opening names something that the pack does not have.
    """
    for opening in battery.openings:
        for what, name, allowed in (
            ("gate", opening.gate, gates),
            ("clause", opening.clause, gates.get(opening.gate, ())),
            ("country", opening.country, countries),
        ):
            if name is not None and name not in allowed:
                raise PackError(f"{path}: {opening.id} has the {what} {name!r}.{nearest(name, allowed)} Allowed: {', '.join(sorted(allowed)) or 'none'}.")
