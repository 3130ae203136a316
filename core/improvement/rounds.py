"""Rounds of improvement: the state at the start of each, its personas, its result, and the series that it belongs to."""

import re
from collections.abc import Mapping, Sequence

from pydantic import Field, FiniteFloat

from core.dataset.build import training_seeds
from core.errors import PersonaError
from core.evaluation.attempts import fresh_block
from core.evaluation.decision import verdict
from core.fingerprint import fingerprint
from core.improvement.failures import Cell, draw_where_it_fails
from core.llm.bills import bills
from core.llm.run import Run
from core.records import DatasetRef, Persona, Record
from core.rehearsal.personas import sample_batch
from core.settings.operations import ImprovementSettings
from core.storage.store import Store
from core.training.latest import Exported, Trained

POOL = 8
"""Size of the pool per persona that is drawn where the understudy fails, large enough to contain rare cells."""


class Began(Record):
    """The state at the start of a round, from which an interrupted round continues.

    Args:
        number: number of the round, from 1 on.
        series: name of the series of rounds, which starts from one export.
        before: the understudy that plays and that the next one is compared with.
        trained: the training of that understudy; None if it is not known.
        first_seed: first seed of the round's personas.
        evaluated_from: first seed of the personas for the evaluation.
        spent: by run, the USD that it had spent when it started or resumed the round.
        dataset: the round's dataset; None until it is built.
    """

    number: int
    series: str
    before: Exported
    trained: Trained | None
    first_seed: int
    evaluated_from: int
    spent: dict[str, FiniteFloat] = Field(default_factory=dict)
    dataset: DatasetRef | None = None


class HeldOut(Record):
    """Mean loss per token on corrected replies that were not trained on.

    Args:
        replies: number of the replies.
        tokens: number of tokens of all replies.
        before, after: loss of the understudy's GGUF file before and after the round.
    """

    replies: int
    tokens: int
    before: FiniteFloat
    after: FiniteFloat


class Compared(Record):
    """The outcome of a round's evaluation.

    Args:
        path: file of the evaluation's record.
        before, after: mean scores of the understudies before and after the round.
        gain: difference of the mean scores.
        interval: 95 % interval of the gain; None if it cannot be computed.
        criteria: by criterion, the shares of conversations that fail it before and after, of those to which it applies.
        applied: by criterion, the numbers of conversations to which it applies before and after.
        scripted: whether a scripted model plays, simulates or judges in the evaluation.
    """

    path: str
    decision: str
    reason: str
    before: FiniteFloat
    after: FiniteFloat
    gain: FiniteFloat
    interval: tuple[FiniteFloat, FiniteFloat] | None
    personas: int
    criteria: dict[str, tuple[FiniteFloat, FiniteFloat]]
    applied: dict[str, tuple[int, int]] = Field(default_factory=dict)
    scripted: bool = False

    @property
    def verdict(self) -> str:
        """The decision in the words of the reports."""
        return verdict(self.decision, self.scripted)


class Round(Record):
    """A finished round.

    Args:
        after: the understudy that the round made; None if nothing was corrected.
        seeds: seeds of the round's personas.
        played: number of conversations.
        failed: number of judged conversations that did not pass.
        corrections: number of corrections that are trained on.
        refused: number of the other corrections, by reason.
        cells: failure of the first personas by cell, by which the others were drawn.
        usd: cost of models and jobs.
        kept: whether the new understudy is the domain's latest.
        stop: why no round follows; None if one may follow.
    """

    number: int
    before: Exported
    after: Exported | None
    numbers: ImprovementSettings
    seeds: list[int]
    played: int
    failed: int
    corrections: int
    refused: dict[str, int]
    cells: list[Cell]
    compared: Compared | None
    heldout: HeldOut | None
    usd: FiniteFloat
    kept: bool
    stop: str | None

    @property
    def latest(self) -> Exported:
        """The understudy from which the next round begins."""
        return self.after if self.after and self.kept else self.before


def folder_of(domain: str, began: Began) -> str:
    """Return the folder of a round, below the data root."""
    return f"improvement/{domain}/{began.series}/{began.number:03d}"


def rounds_of(store: Store, domain: str, series: str) -> list[Round]:
    """Return the finished rounds of a series."""
    names = (f"{folder}/round.json" for folder in store.names(f"improvement/{domain}/{series}"))
    return [store.load(name, Round) for name in names if store.exists(name)]


def find_series(store: Store, domain: str, exported: Exported) -> str:
    """Return the series that starts from an export or in which a round made it; if there is none, the name of a new series."""
    for folder in store.names(f"improvement/{domain}"):
        for began in _all_begun(store, folder):
            if exported.dataset.path in {began.before.dataset.path, *([began.dataset.path] if began.dataset else [])}:
                return began.series
    return fingerprint(exported)


def next_round(run: Run, exported: Exported, trained: Trained | None, rounds: int) -> Began | str:
    """Return the round to run, which is an interrupted one or a new one, or the reason why there is none.

    A series that stopped continues only if the settings of its rounds have changed.

    Args:
        exported: the domain's latest export.
        trained: the training of that export; None if it is not known.
        rounds: largest number of rounds in a series.

    Raises:
        PersonaError: too few seeds are left below those of the evaluation.
    """
    store, domain, numbers = run.store, run.pack.name, run.settings.improvement
    series = find_series(store, domain, exported)
    finished = rounds_of(store, domain, series)
    for began in _all_begun(store, f"improvement/{domain}/{series}"):
        if not store.exists(f"{folder_of(domain, began)}/round.json"):
            return _resumed(run, began)
    last = finished[-1] if finished else None
    if last and last.stop and _alike(last.numbers, numbers):
        return last.stop
    if len(finished) >= rounds:
        return f"{len(finished)} of {rounds} rounds are done (improvement.rounds)."
    began = Began(
        number=len(finished) + 1,
        series=series,
        before=last.latest if last else exported,
        trained=trained,
        first_seed=_free_seed(run, exported),
        evaluated_from=fresh_block(store, domain, run.settings.evaluation.first_seed, run.settings.evaluation.personas),
    )
    personas_of(run, began)  # raises if too few seeds are left
    return _resumed(run, began)


def personas_of(run: Run, began: Began) -> tuple[list[Persona], list[Persona]]:
    """Return the round's first personas, which follow the taxonomy's weights, and the pool from which the others are drawn.

    Raises:
        PersonaError: too few seeds are left below those of the evaluation.
    """
    numbers, settings = run.settings.improvement, run.settings
    floor = scouts_of(numbers)
    count = floor + POOL * (numbers.conversations - floor)
    if began.first_seed + count > settings.evaluation.first_seed:
        raise PersonaError(
            f"Round {began.number} would draw from the seeds {began.first_seed} to {began.first_seed + count - 1}, and those from "
            f"{settings.evaluation.first_seed} on are kept for the evaluation. Raise evaluation.first_seed, or lower improvement.conversations."
        )
    personas = sample_batch(run.pack, began.first_seed, count, settings.generation.exchanges)
    return personas[:floor], personas[floor:]


def scouts_of(numbers: ImprovementSettings) -> int:
    """Return the number of a round's personas that follow the taxonomy's weights; at least one, since the others are drawn by its failure."""
    return max(1, round(numbers.floor * numbers.conversations))


def drawn_where_it_fails(numbers: ImprovementSettings, pool: Sequence[Persona], cells: Sequence[Cell]) -> list[Persona]:
    """Return the other personas of a round, drawn from the pool in proportion to how often their cells failed."""
    return draw_where_it_fails(pool, cells, numbers.conversations - scouts_of(numbers))


def judge_round(compared: Compared, numbers: ImprovementSettings, number: int) -> tuple[bool, str | None]:
    """Return whether a round's understudy is kept, and why no round follows (None if one may follow).

    The evaluation decides: a round is kept if its understudy meets all conditions of `evaluation.decision`. With `stop_without_gain: false` it is always kept.
    """
    if compared.decision == "ship" or not numbers.stop_without_gain:
        return True, None
    return False, f"Round {number} does not ship: {compared.verdict}. {compared.reason} The understudy before it stays the latest."


def spent_on(store: Store, began: Began, spent: Mapping[str, float]) -> float:
    """Return the USD that the calls of a round cost, over all runs that worked on it.

    Args:
        spent: by run, the USD that it has spent so far; other runs are read from their bills.
    """
    return sum(max(0.0, spent.get(run, _spent(store, run)) - before) for run, before in began.spent.items())


def keep_began(store: Store, domain: str, began: Began) -> Began:
    """Store the state at the start of a round, and return it."""
    store.write_json(f"{folder_of(domain, began)}/began.json", began)
    return began


def _all_begun(store: Store, series: str) -> list[Began]:
    names = (f"{folder}/began.json" for folder in store.names(series))
    return [store.load(name, Began) for name in names if store.exists(name)]


def _resumed(run: Run, began: Began) -> Began:
    """Return a round in which this run's spending so far is recorded, so that only its later calls count towards the round."""
    name = run.ledger.run
    if name in began.spent:
        return began
    return keep_began(run.store, run.pack.name, began.model_copy(update={"spent": {**began.spent, name: _spent(run.store, name)}}))


def _spent(store: Store, run: str) -> float:
    return sum(bill.usd for bill in bills(store, run).values())


def _alike(one: ImprovementSettings, other: ImprovementSettings) -> bool:
    """Return whether two settings of rounds differ at most in the number of rounds."""
    return one.model_copy(update={"rounds": 1}) == other.model_copy(update={"rounds": 1})


def _free_seed(run: Run, exported: Exported) -> int:
    """Return the seed after the largest one that was trained on, generated or played in a round."""
    store, generation, domain = run.store, run.settings.generation, run.pack.name
    used = {generation.first_seed + generation.conversations - 1, *training_seeds(store, exported.dataset)}
    prefixes = (name.rpartition("/")[2].partition("-")[0] for name in store.names(f"transcripts/{domain}", ".json"))
    used |= {int(seed) for seed in prefixes if re.fullmatch("[0-9]{1,9}", seed)}
    for series in store.names(f"improvement/{domain}"):
        for finished in rounds_of(store, domain, series.rpartition("/")[2]):
            used |= set(finished.seeds)
    return max((seed for seed in used if seed < run.settings.evaluation.first_seed), default=-1) + 1
