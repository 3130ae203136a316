"""Earlier evaluations on the same personas.

The best of many attempts looks good by chance. Only the first evaluation can therefore ship directly; a later one can ship after a confirmation.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, Field

from core.errors import EvaluationError
from core.evaluation.decision import Condition, verdict
from core.records import Persona, Record
from core.settings.arms import BASE, UNDER
from core.settings.evaluation import Decision
from core.storage.store import Store

FOLDER = "evaluations"
FILE = "comparison.json"
FIRST = "first evaluation on these personas"
CONFIRMS = "confirms an evaluation that met every other condition"


class Attempt(Record):
    """An earlier evaluation of other models on some of the same personas, or, for a confirmation, another confirmation.

    Args:
        folder: folder of its report, below the data root.
        models: models by arm; for a model file, its path.
        personas: number of personas in common.
        decisions: decisions by arm.
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
    rule: dict[str, Any] = Field(default_factory=dict)


class _Seed(BaseModel):
    seed: int


class _Evaluation(BaseModel):
    """The parts of an evaluation's file that are needed here, which all versions have in common."""

    domain: str
    models: dict[str, str]
    files: dict[str, str] = Field(default_factory=dict)
    personas: list[_Seed] = Field(default_factory=list)
    judges: list[str] = Field(default_factory=list)
    comparison: _Comparison
    attempts: list[Attempt] = Field(default_factory=list)
    confirm: bool = False

    @property
    def arms(self) -> dict[str, str]:
        """Each arm's identity, in the form of `Arm.identity`."""
        return {name: self.files.get(name, model.partition(UNDER)[0]) + "".join(model.partition(UNDER)[1:]) for name, model in self.models.items()}

    @property
    def seeds(self) -> set[int]:
        """Seeds of its personas."""
        return {persona.seed for persona in self.personas}

    @property
    def decisions(self) -> dict[str, str]:
        """The decisions by arm, as text."""
        return {arm: verdict(one.decided.decision, one.decided.scripted) for arm, one in self.comparison.comparisons.items()}

    @property
    def scripted(self) -> bool:
        """Whether a scripted model took part, so that the evaluation says nothing about its models."""
        return any(one.decided.scripted for one in self.comparison.comparisons.values())


def earlier_attempts(
    store: Store, domain: str, models: Mapping[str, str], personas: Sequence[Persona], confirm: bool = False, scripted: bool = False
) -> list[Attempt]:
    """Return the earlier evaluations of other models on some of these personas; for a confirmation also all other confirmations.

    If an evaluation of the same models exists, this is a repetition of it, and its attempts are returned. An evaluation whose models are all among these
    models is not an attempt. Files that cannot be read are ignored.

    Args:
        models: by arm, in the form of `Arm.identity`.
        confirm: whether this evaluation is a confirmation.
        scripted: whether a scripted model takes part; other evaluations ignore those with scripted models, which say nothing about their models.
    """
    seeds = {persona.seed for persona in personas}
    earlier = {name: record for name, record in _records(store, domain, scripted).items() if seeds & record.seeds or (confirm and record.confirm)}
    repeated = [record for record in earlier.values() if _same(record.arms, models) and record.confirm == confirm]
    if repeated:
        return min((record.attempts for record in repeated), key=len)
    return [
        Attempt(
            folder=name.removesuffix(f"/{FILE}"),
            models=record.arms,
            personas=len(seeds & record.seeds),
            decisions=record.decisions,
        )
        for name, record in earlier.items()
        if not _candidates(record.arms) <= _candidates(models)
    ]


def other_results(
    store: Store, domain: str, models: Mapping[str, str], personas: Sequence[Persona], judges: Sequence[str], rule: Decision, scripted: bool = False
) -> list[str]:
    """Return a sentence on evaluations of the same models with other judges, another rule or only some of the personas; an empty list if there are none.

    They are no attempts, because no model was changed after a look at the personas. But whoever picks the best of several results overstates it.

    Args:
        models: by arm, in the form of `Arm.identity`.
        judges: references of this evaluation's judges.
        rule: its thresholds.
        scripted: as for `earlier_attempts`.
    """
    seeds, own_rule = {persona.seed for persona in personas}, rule.model_dump(mode="json")
    found = set()
    for record in _records(store, domain, scripted).values():
        conditions = (record.judges, record.comparison.rule, record.seeds)
        if _same(record.arms, models) and record.seeds & seeds and conditions != (list(judges), own_rule, seeds):
            other = ", by another rule" if record.comparison.rule != own_rule else ""
            decisions = ", ".join(f"{arm}: {decision}" for arm, decision in record.decisions.items())
            found.add(f"judged by {' + '.join(record.judges)} over {len(record.seeds)} personas{other} ({decisions})")
    if not found:
        return []
    return [f"The same models were also evaluated on some of these personas {'; '.join(sorted(found))}. The best of several results is overstated."]


def confirmation_seed(store: Store, domain: str, models: Mapping[str, str], first: int, personas: int, scripted: bool = False) -> int:
    """Return the first seed of the block of personas for a confirmation: the first block after the evaluation's that no evaluation has used.

    Args:
        models: by arm, in the form of `Arm.identity`.
        first: first seed of the evaluation's block.
        personas: number of personas in a block.
        scripted: as for `earlier_attempts`.

    Raises:
        EvaluationError: these models have no evaluation that could be confirmed.
    """
    if not _confirmed(store, domain, models, scripted):
        raise EvaluationError(
            f"Nothing to confirm: {', '.join(sorted(_candidates(models)))} of {domain} has not been evaluated here. Evaluate first (understudy evaluate), "
            "then confirm its result."
        )
    records = _records(store, domain).values()
    used = set[int]().union(*(record.seeds for record in records if not (record.confirm and _same(record.arms, models))))
    return _unused_block(used, first + personas, personas)


def fresh_block(store: Store, domain: str, first: int, personas: int) -> int:
    """Return the first seed of the next unused block of personas, after the blocks of the evaluation and of its confirmation.

    Args:
        first: first seed of the evaluation's block.
        personas: number of personas in a block.
    """
    used = set[int]().union(*(record.seeds for record in _records(store, domain).values()))
    return _unused_block(used, first + 2 * personas, personas)


def _unused_block(used: set[int], start: int, personas: int) -> int:
    while used & set(range(start, start + personas)):
        start += personas
    return start


def attempt_conditions(
    store: Store, domain: str, models: Mapping[str, str], attempts: Sequence[Attempt], confirm: bool, scripted: bool = False
) -> dict[str, list[Condition]]:
    """Return, by arm, the condition on the number of attempts.

    The first evaluation on a block of personas uses the full alpha, and later ones cannot ship. They ship after a confirmation on unused personas, which has
    the full alpha again and whose gain is not the best of several.

    Args:
        models: by arm, in the form of `Arm.identity`.
        attempts: earlier attempts.
        confirm: whether this evaluation is a confirmation.
        scripted: as for `earlier_attempts`.
    """
    arms = [name for name in models if name != BASE]
    if not confirm:
        found = f"number {len(attempts) + 1}, and the best of several is overstated: confirm it (understudy evaluate --confirm)" if attempts else "number 1"
        return {name: [Condition(text=FIRST, figure=len(attempts) + 1, found=found, holds=not attempts, helps="confirm")] for name in arms}
    confirmed = _confirmed(store, domain, models, scripted)
    unmet = {name: min((_unmet(record, models[name]) for record in confirmed), key=len) for name in arms}
    return {
        name: [Condition(text=CONFIRMS, figure=None, found=f"not met there: {'; '.join(missed)}" if missed else "it did", holds=not missed, helps="data")]
        for name, missed in unmet.items()
    }


def _confirmed(store: Store, domain: str, models: Mapping[str, str], scripted: bool) -> list[_Evaluation]:
    """Return the evaluations that a confirmation of these models confirms."""
    return [record for record in _records(store, domain, scripted).values() if not record.confirm and _candidates(models) <= _candidates(record.arms)]


def _records(store: Store, domain: str, scripted: bool = True) -> dict[str, _Evaluation]:
    """Return the readable evaluations of a domain, by file name.

    Args:
        scripted: whether to include those in which a scripted model took part.
    """
    names = [f"{folder}/{FILE}" for folder in store.names(FOLDER, beginning=f"{domain}-") if store.exists(f"{folder}/{FILE}")]
    records, _ = store.load_all(names, _Evaluation)
    return {name: record for name, record in records.items() if record.domain == domain and (scripted or not record.scripted)}


def _candidates(models: Mapping[str, str]) -> set[str]:
    """Return the identities of the arms that could ship."""
    return {identity for name, identity in models.items() if name != BASE}


def _same(models: Mapping[str, str], others: Mapping[str, str]) -> bool:
    return models.get(BASE) == others.get(BASE) and _candidates(models) == _candidates(others)


def _unmet(record: _Evaluation, identity: str) -> list[str]:
    """Return the conditions that an arm did not meet, except the one on the number of attempts."""
    compared = record.comparison.comparisons
    arms: Iterable[_Arm] = (compared[name] for name, one in record.arms.items() if one == identity and name in compared)
    return [condition.text for arm in arms for condition in arm.decided.conditions if not condition.holds and condition.text != FIRST]
