"""Earlier evaluations on the same personas: the best of many tries looks good by luck, so only the first can ship, and a later one after it was confirmed."""

from collections.abc import Iterable, Mapping, Sequence

from pydantic import BaseModel, Field

from core.errors import EvaluationError
from core.evaluation.decision import Condition, verdict
from core.records import Persona, Record
from core.settings.arms import BASE, UNDER
from core.storage.store import Store

FOLDER = "evaluations"
FILE = "comparison.json"
FIRST = "first evaluation on these personas"
CONFIRMS = "confirms an evaluation that met every other condition"


class Attempt(Record):
    """An earlier evaluation of other models that has personas in common with this one, or is a confirmation like this one.

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


class _Condition(BaseModel):
    text: str
    holds: bool


class _Decided(BaseModel):
    decision: str
    conditions: list[_Condition] = Field(default_factory=list)
    scripted: bool = False


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
    confirm: bool = False

    @property
    def arms(self) -> dict[str, str]:
        """What each arm was, as `Arm.identity` says it."""
        return {name: self.files.get(name, model.partition(UNDER)[0]) + "".join(model.partition(UNDER)[1:]) for name, model in self.models.items()}

    @property
    def seeds(self) -> set[int]:
        """Of its personas."""
        return {persona.seed for persona in self.personas}


def earlier_attempts(store: Store, domain: str, models: Mapping[str, str], personas: Sequence[Persona], confirm: bool = False) -> list[Attempt]:
    """Return the evaluations of other models on some of these personas that came before this one; of a confirmation also the other confirmations.

    An evaluation of the same models is this one, repeated: it keeps the attempts that it had. One whose models are all in this one too is no try of another.
    A file that cannot be read is none.

    Args:
        models: by arm, as `Arm.identity` says it.
    """
    seeds = {persona.seed for persona in personas}
    before = {name: found for name, found in _known(store, domain).items() if seeds & found.seeds or (confirm and found.confirm)}
    again = [found for found in before.values() if _same(found.arms, models) and found.confirm == confirm]
    if again:
        return min((found.attempts for found in again), key=len)
    return [
        Attempt(
            folder=name.removesuffix(f"/{FILE}"),
            models=found.arms,
            personas=len(seeds & found.seeds),
            decisions={arm: verdict(one.decided.decision, one.decided.scripted) for arm, one in found.comparison.comparisons.items()},
        )
        for name, found in before.items()
        if not _candidates(found.arms) <= _candidates(models)
    ]


def confirmation_seed(store: Store, domain: str, models: Mapping[str, str], first: int, personas: int) -> int:
    """Return the first seed of the block of personas on which an evaluation is confirmed: the first one after the evaluation's own that nobody has met.

    Args:
        models: by arm, as `Arm.identity` says it.
        first: seed of the evaluation's own block; personas: of each block.

    Raises:
        EvaluationError: these models have no evaluation that could be confirmed.
    """
    known = _known(store, domain).values()
    if not any(_candidates(models) <= _candidates(found.arms) for found in known if not found.confirm):
        raise EvaluationError(
            f"Nothing to confirm: {', '.join(sorted(_candidates(models)))} of {domain} has not been evaluated here. Evaluate first (understudy evaluate), "
            "then confirm its result."
        )
    met = set[int]().union(*(found.seeds for found in known if not (found.confirm and _same(found.arms, models))))
    return _unmet_block(met, first + personas, personas)


def fresh_block(store: Store, domain: str, first: int, personas: int) -> int:
    """Return the first seed of the next block of personas that no evaluation has met, after the evaluation's own and the one that confirms it."""
    met = set[int]().union(*(found.seeds for found in _known(store, domain).values()))
    return _unmet_block(met, first + 2 * personas, personas)


def _unmet_block(met: set[int], start: int, personas: int) -> int:
    while met & set(range(start, start + personas)):
        start += personas
    return start


def look_conditions(store: Store, domain: str, models: Mapping[str, str], attempts: Sequence[Attempt], confirm: bool) -> dict[str, list[Condition]]:
    """Return by arm what comes of the number of tries.

    The first evaluation on a block of personas has all of alpha, and later ones nothing of it: they ship once they are confirmed, on personas that no model
    has met, where alpha is whole again and the gain is not the best of many.

    Args:
        models: by arm, as `Arm.identity` says it.
        attempts: that came before.
    """
    arms = [name for name in models if name != BASE]
    if not confirm:
        found = f"number {len(attempts) + 1}, and the best of several is overstated: confirm it (understudy evaluate --confirm)" if attempts else "number 1"
        return {name: [Condition(text=FIRST, figure=len(attempts) + 1, found=found, holds=not attempts, helps="confirm")] for name in arms}
    known = [found for found in _known(store, domain).values() if not found.confirm and _candidates(models) <= _candidates(found.arms)]
    unmet = {name: min((_unmet(found, models[name]) for found in known), key=len) for name in arms}
    return {
        name: [Condition(text=CONFIRMS, figure=None, found=f"not met there: {'; '.join(missed)}" if missed else "it did", holds=not missed, helps="data")]
        for name, missed in unmet.items()
    }


def _known(store: Store, domain: str) -> dict[str, _Known]:
    names = [f"{folder}/{FILE}" for folder in store.names(FOLDER, beginning=f"{domain}-") if store.exists(f"{folder}/{FILE}")]
    known, _ = store.load_all(names, _Known)
    return {name: found for name, found in known.items() if found.domain == domain}


def _candidates(models: Mapping[str, str]) -> set[str]:
    """Return the arms that could ship."""
    return {identity for name, identity in models.items() if name != BASE}


def _same(models: Mapping[str, str], others: Mapping[str, str]) -> bool:
    return models.get(BASE) == others.get(BASE) and _candidates(models) == _candidates(others)


def _unmet(found: _Known, identity: str) -> list[str]:
    """Return which conditions an arm did not meet, but for the number of tries."""
    each: Iterable[_Arm] = (found.comparison.comparisons[name] for name, one in found.arms.items() if one == identity and name in found.comparison.comparisons)
    return [condition.text for one in each for condition in one.decided.conditions if not condition.holds and condition.text != FIRST]
