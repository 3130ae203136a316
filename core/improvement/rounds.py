"""Rounds of improvement: what each begins with, its personas, and the series that it belongs to."""

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
"""Personas for each one that is drawn where the understudy fails: enough that rare cells are among them."""


class Began(Record):
    """What a round begins with; a round that was interrupted continues from it.

    Args:
        number: from 1 on; series: name of the rounds that follow one another from one export.
        before: the understudy that plays, and that the next one is compared with; trained: its adapter, where that is known.
        first_seed: of its personas; evaluated_from: first seed of the block on which it is evaluated.
        spent: USD that each run had spent when it took the round up.
        dataset: once it is made.
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
    """Mean loss per token on corrected replies that nothing was trained on: of the files of the understudy before and of the one after.

    Args:
        replies: how many; tokens: all of them.
    """

    replies: int
    tokens: int
    before: FiniteFloat
    after: FiniteFloat


class Compared(Record):
    """What the evaluation of a round says.

    Args:
        path: of its figures.
        scripted: whether a scripted model plays, simulates or judges in it.
        before, after: mean scores; gain: their difference.
        criteria: by criterion, the share that fails it of the conversations to which it applies, before and after; applied: to how many it does.
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
        """The decision as it is printed."""
        return verdict(self.decision, self.scripted)


class Round(Record):
    """A finished round.

    Args:
        after: the understudy that it made; none where nothing was corrected.
        seeds: of its personas; played: how many conversations there are; failed: of those that were judged, those that did not pass.
        corrections: how many are learnt; refused: why others are not, with their number.
        cells: where the first personas failed, by which the others were drawn.
        usd: what models and jobs cost.
        kept: whether the understudy is the domain's latest; stop: why no round follows.
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
    """Return where a round is, below the data root."""
    return f"improvement/{domain}/{began.series}/{began.number:03d}"


def rounds_of(store: Store, domain: str, series: str) -> list[Round]:
    """Return the finished rounds of a series."""
    names = (f"{folder}/round.json" for folder in store.names(f"improvement/{domain}/{series}"))
    return [store.load(name, Round) for name in names if store.exists(name)]


def find_series(store: Store, domain: str, exported: Exported) -> str:
    """Return the series that an export is of, as its beginning or as what a round of it made; a new one if there is none."""
    for folder in store.names(f"improvement/{domain}"):
        for began in _all_begun(store, folder):
            if exported.dataset.path in {began.before.dataset.path, *([began.dataset.path] if began.dataset else [])}:
                return began.series
    return fingerprint(exported)


def next_round(run: Run, exported: Exported, trained: Trained | None, rounds: int) -> Began | str:
    """Return the round that is to be gone through: one that was interrupted, or a new one; or why there is none.

    A series that was stopped continues where the settings of its rounds have changed.

    Args:
        exported: the domain's latest.
        rounds: the most of a series.

    Raises:
        PersonaError: the seeds below those of the evaluation are used up.
    """
    store, domain, numbers = run.store, run.pack.name, run.settings.improvement
    series = find_series(store, domain, exported)
    done = rounds_of(store, domain, series)
    for began in _all_begun(store, f"improvement/{domain}/{series}"):
        if not store.exists(f"{folder_of(domain, began)}/round.json"):
            return _taken_up(run, began)
    last = done[-1] if done else None
    if last and last.stop and _alike(last.numbers, numbers):
        return last.stop
    if len(done) >= rounds:
        return f"{len(done)} of {rounds} rounds are done (improvement.rounds)."
    began = Began(
        number=len(done) + 1,
        series=series,
        before=last.latest if last else exported,
        trained=trained,
        first_seed=_free_seed(run, exported),
        evaluated_from=fresh_block(store, domain, run.settings.evaluation.first_seed, run.settings.evaluation.personas),
    )
    scouts, pool = personas_of(run, began)  # whether there are as many
    assert scouts or pool
    return _taken_up(run, began)


def personas_of(run: Run, began: Began) -> tuple[list[Persona], list[Persona]]:
    """Return a round's personas as the taxonomy has them, and those of which the others are drawn.

    Raises:
        PersonaError: the seeds below those of the evaluation are used up.
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
    """Return how many of a round's personas are drawn as the taxonomy has them; at least one, by which the others are drawn."""
    return max(1, round(numbers.floor * numbers.conversations))


def drawn_where_it_fails(numbers: ImprovementSettings, pool: Sequence[Persona], cells: Sequence[Cell]) -> list[Persona]:
    """Return the rest of a round's personas."""
    return draw_where_it_fails(pool, cells, numbers.conversations - scouts_of(numbers))


def judge_round(compared: Compared, numbers: ImprovementSettings, number: int) -> tuple[bool, str | None]:
    """Return whether a round's understudy is kept, and why no round follows: the evaluation's rule for shipping decides.

    A round that does not ship has not met all that `evaluation.decision` asks for.
    """
    if compared.decision == "ship" or not numbers.stop_without_gain:
        return True, None
    return False, f"Round {number} does not ship: {compared.verdict}. {compared.reason} The understudy before it stays the latest."


def spent_on(store: Store, began: Began, spent: Mapping[str, float]) -> float:
    """Return what the calls of a round cost, over all runs that went through parts of it.

    Args:
        spent: by run, what it has spent now.
    """
    return sum(max(0.0, spent.get(run, _spent(store, run)) - before) for run, before in began.spent.items())


def keep_began(store: Store, domain: str, began: Began) -> Began:
    """Write what a round begins with."""
    store.write_json(f"{folder_of(domain, began)}/began.json", began)
    return began


def _all_begun(store: Store, series: str) -> list[Began]:
    names = (f"{folder}/began.json" for folder in store.names(series))
    return [store.load(name, Began) for name in names if store.exists(name)]


def _taken_up(run: Run, began: Began) -> Began:
    name = run.ledger.run
    if name in began.spent:
        return began
    return keep_began(run.store, run.pack.name, began.model_copy(update={"spent": {**began.spent, name: _spent(run.store, name)}}))


def _spent(store: Store, run: str) -> float:
    return sum(bill.usd for bill in bills(store, run).values())


def _alike(one: ImprovementSettings, other: ImprovementSettings) -> bool:
    """Say whether rounds would be gone through in the same way, however many."""
    return one.model_copy(update={"rounds": 1}) == other.model_copy(update={"rounds": 1})


def _free_seed(run: Run, exported: Exported) -> int:
    """Return the first seed after all that were trained on, generated or met in a round."""
    store, generation, domain = run.store, run.settings.generation, run.pack.name
    used = {generation.first_seed + generation.conversations - 1, *training_seeds(store, exported.dataset)}
    begins = (name.rpartition("/")[2].partition("-")[0] for name in store.names(f"transcripts/{domain}", ".json"))
    used |= {int(seed) for seed in begins if re.fullmatch("[0-9]{1,9}", seed)}
    for series in store.names(f"improvement/{domain}"):
        for done in rounds_of(store, domain, series.rpartition("/")[2]):
            used |= set(done.seeds)
    return max((seed for seed in used if seed < run.settings.evaluation.first_seed), default=-1) + 1
