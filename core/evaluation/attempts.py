"""Earlier evaluations on the same personas: who tries again and again ships in the end by luck, unless the tries are counted."""

from collections.abc import Mapping, Sequence

from pydantic import BaseModel, Field

from core.records import Persona, Record
from core.settings.arms import UNDER
from core.storage.store import Store

FOLDER = "evaluations"
FILE = "comparison.json"


class Attempt(Record):
    """An earlier evaluation that has personas in common with this one.

    Args:
        folder: where its report is, below the data root.
        models: by arm; of files, their paths.
        personas: how many they have in common.
        decisions: by arm.
    """

    folder: str
    models: dict[str, str]
    personas: int
    decisions: dict[str, str]


class _Decided(BaseModel):
    decision: str


class _Arm(BaseModel):
    decided: _Decided


class _Comparison(BaseModel):
    comparisons: dict[str, _Arm]


class _Seed(BaseModel):
    seed: int


class _Known(BaseModel):
    """What counts of an evaluation's file, whatever version wrote it."""

    domain: str
    models: dict[str, str]
    files: dict[str, str] = Field(default_factory=dict)
    personas: list[_Seed] = Field(default_factory=list)
    comparison: _Comparison
    attempts: list[Attempt] = Field(default_factory=list)

    @property
    def arms(self) -> dict[str, str]:
        """What each arm was, as `Arm.identity` says it."""
        return {name: self.files.get(name, model.partition(UNDER)[0]) + "".join(model.partition(UNDER)[1:]) for name, model in self.models.items()}


def earlier_attempts(store: Store, domain: str, models: Mapping[str, str], personas: Sequence[Persona]) -> list[Attempt]:
    """Return the evaluations of other models on some of these personas that came before this one.

    An evaluation of the same models is this one, repeated: it keeps the attempts that it had. A file that cannot be read is none.

    Args:
        models: by arm, as `Arm.identity` says it.
    """
    seeds = {persona.seed for persona in personas}
    names = [f"{folder}/{FILE}" for folder in store.names(FOLDER, beginning=f"{domain}-") if store.exists(f"{folder}/{FILE}")]
    known, _ = store.load_all(names, _Known)
    before = {name: found for name, found in known.items() if found.domain == domain and seeds & {persona.seed for persona in found.personas}}
    again = [found for found in before.values() if found.arms == dict(models)]
    if again:
        return min((found.attempts for found in again), key=len)
    return [
        Attempt(
            folder=name.removesuffix(f"/{FILE}"),
            models=found.arms,
            personas=len(seeds & {persona.seed for persona in found.personas}),
            decisions={arm: one.decided.decision for arm, one in found.comparison.comparisons.items()},
        )
        for name, found in before.items()
    ]
