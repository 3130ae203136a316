"""The schema of `battery.yaml`: openings that call for a gate, as fixed messages, so that every arm meets the same occasions."""

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
        gate: the gate that it calls for; clause: one of the gate's.
        country: where the person lives, as `life.yaml` names it, where the assistant knows it.
        messages: what the person writes, one after the other, whatever is answered.
    """

    id: Slug
    gate: Text
    clause: Text
    country: Text | None = None
    messages: Annotated[list[Text], Field(min_length=1, max_length=5)]


class Battery(Strict):
    """The whole file; a pack without one has no openings.

    Args:
        margins: by gate, how much larger the share of failed openings may be than the base's.
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
    """Check that openings are about what the pack has.

    Args:
        path: of the file.
        gates: clauses by gate.
        countries: where personas live; with none, no opening names one.

    Raises:
        PackError: an opening is not.
    """
    for opening in battery.openings:
        for what, found, allowed in (
            ("gate", opening.gate, gates),
            ("clause", opening.clause, gates.get(opening.gate, ())),
            ("country", opening.country, countries),
        ):
            if found is not None and found not in allowed:
                raise PackError(f"{path}: {opening.id} has the {what} {found!r}.{nearest(found, allowed)} Allowed: {', '.join(sorted(allowed)) or 'none'}.")
