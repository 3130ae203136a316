"""The models' answers to the suites, side by side, for the page."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.evaluation.facts import EvaluationFacts
from core.evaluation.general_prompts import GeneralAnswer
from core.evaluation.refusals import RefusalAnswer


@dataclass(frozen=True)
class Cell:
    """One model's result on a question, and its answer."""

    outcome: str
    said: str


@dataclass(frozen=True)
class Row:
    """A question, the wanted answer, and a cell for each model."""

    name: str
    question: str
    wanted: str
    cells: list[Cell]

    @property
    def differs(self) -> bool:
        """Whether the models have different outcomes."""
        return len({cell.outcome for cell in self.cells}) > 1


@dataclass(frozen=True)
class Suite:
    """The questions of a suite; those with different outcomes come first."""

    title: str
    about: str
    arms: list[str]
    rows: list[Row]


def suites_of(facts: EvaluationFacts) -> list[Suite]:
    """Return the suites that were asked."""
    suites = []
    if facts.general:
        about = "Questions outside the domain, asked without a system prompt. They show damage from training."
        suites.append(_suite("General prompts", about, facts.general))
    if facts.refusals:
        about = (
            "Requests that a well-behaved assistant declines and look-alikes that it helps with, asked without a system prompt. "
            f"{facts.refusals.judge} said what each answer does."
        )
        suites.append(_suite("Requests to decline and look-alikes", about, facts.refusals.answers))
    return suites


def _suite(title: str, about: str, by_arm: Mapping[str, Sequence[GeneralAnswer | RefusalAnswer]]) -> Suite:
    answers = {arm: {item.name: item for item in items} for arm, items in by_arm.items()}
    asked = {item.name: item for items in by_arm.values() for item in items}
    rows = [_row(item, [answers[arm].get(name) for arm in answers]) for name, item in asked.items()]
    return Suite(title, about, list(answers), sorted(rows, key=lambda row: not row.differs))


def _row(asked: GeneralAnswer | RefusalAnswer, answers: Sequence[GeneralAnswer | RefusalAnswer | None]) -> Row:
    cells = [Cell("not asked", "not asked") if item is None else Cell(_outcome(item), item.answer or item.lost or "nothing") for item in answers]
    if isinstance(asked, GeneralAnswer):
        return Row(asked.name, asked.prompt, f"Right: {asked.expected}.", cells)
    return Row(asked.name, asked.request, f"To be {asked.wanted} ({asked.kind}).", cells)


def _outcome(item: GeneralAnswer | RefusalAnswer) -> str:
    if isinstance(item, GeneralAnswer):
        return "no answer" if item.answer is None else "right" if item.right else "wrong"
    return item.found or "not known"
