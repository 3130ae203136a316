"""The conversations of an evaluation, and the pairs of values in which two arms are compared."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from pydantic import Field

from core.errors import EvaluationError, NothingMadeError
from core.evaluation.paired_statistics import DIGITS, mean_of
from core.records import Answer, Outcome, Record, Score


class Trial(Record):
    """One conversation of an evaluation and its assessment.

    Args:
        arm: name of the arm; one of the arms is the base.
        persona: seed of the persona.
        transcript_id: None if no conversation was made.
        score: None if the conversation was lost or not judged.
        answers: the judge's answers by criterion.
        lost: why there is no score.
        simulator_broke: whether the simulated user spoiled the conversation. It then says nothing about the arm and is not compared, judged or not.
    """

    arm: str
    persona: int
    trial: int
    transcript_id: str | None
    score: Score | None
    answers: dict[str, Answer] = Field(default_factory=dict)
    lost: str | None = None
    simulator_broke: bool = False

    @property
    def complete(self) -> bool:
        """Whether the conversation can be compared."""
        return self.score is not None and self.score.score is not None and self.score.outcome is not Outcome.INCOMPLETE and not self.simulator_broke


Value = Callable[[Trial], float | None]
"""Returns the value of a complete conversation that is compared; None if the conversation does not have it."""


def points(item: Trial) -> float | None:
    """Return the score."""
    return item.score.score if item.score else None


def passed(item: Trial) -> float | None:
    """Return 1 for a pass and 0 for a failure."""
    return float(item.score.outcome is Outcome.PASS) if item.score else None


def category_score(name: str) -> Value:
    """Return a function that returns a conversation's score in a category."""
    return lambda item: item.score.category_scores.get(name) if item.score else None


def criterion_value(name: str) -> Value:
    """Return a function that returns 0 if a conversation fails a criterion by the rubric, else 1.

    An NA that the rubric does not allow is a failure (`core.judging.scoring`).
    """

    def value(item: Trial) -> float | None:
        if item.score is None or item.answers.get(name, Answer.ERROR) is Answer.ERROR:
            return None
        return float(name not in item.score.failed_checks and name not in item.score.failed_gates)

    return value


@dataclass(frozen=True)
class Pairs:
    """Paired values of two arms.

    Args:
        rows: (persona, trial, the base's value, the arm's value), in the order of personas and trials.
    """

    rows: list[tuple[int, int, float, float]]

    @cached_property
    def personas(self) -> dict[int, tuple[int, float, float]]:
        """By persona, the number of pairs, the base's mean and the arm's mean."""
        by_persona: dict[int, list[tuple[float, float]]] = {}
        for persona, _, base, arm in self.rows:
            by_persona.setdefault(persona, []).append((base, arm))
        return {persona: (len(both), mean_of([base for base, _ in both]), mean_of([arm for _, arm in both])) for persona, both in by_persona.items()}

    @property
    def means(self) -> tuple[float, float]:
        """The base's and the arm's mean; each persona has the same weight, regardless of its number of pairs."""
        return mean_of([base for _, base, _ in self.personas.values()]), mean_of([arm for _, _, arm in self.personas.values()])

    @property
    def difference(self) -> float:
        """The difference of the two means, arm − base."""
        base, arm = self.means
        return round(arm - base, DIGITS)

    @property
    def differences(self) -> np.ndarray:
        """The paired difference of each persona's means, arm − base."""
        return np.round([arm - base for _, base, arm in self.personas.values()], DIGITS)

    @property
    def each(self) -> np.ndarray:
        """The difference of each pair, arm − base."""
        return np.round([arm - base for _, _, base, arm in self.rows], DIGITS)


def by_arm(played: Sequence[Trial], base: str) -> dict[str, dict[tuple[int, int], Trial]]:
    """Return the conversations of each arm by persona and trial, sorted, with the base first.

    Raises:
        EvaluationError: the base or another arm is absent, or two conversations have the same arm, persona and trial.
        NothingMadeError: an arm has completed no conversation.
    """
    arms: dict[str, dict[tuple[int, int], Trial]] = {}
    for item in sorted(played, key=lambda item: (item.arm != base, item.arm, item.persona, item.trial)):
        conversations = arms.setdefault(item.arm, {})
        if (item.persona, item.trial) in conversations:
            raise EvaluationError(f"{item.arm} has two conversations with persona {item.persona}, trial {item.trial}. Give each trial a number of its own.")
        conversations[item.persona, item.trial] = item
    if base not in arms or len(arms) < 2:
        raise EvaluationError(f"There are conversations of {', '.join(arms) or 'no arm'}; the base ({base}) and at least one other arm are needed.")
    for arm, conversations in arms.items():
        if not any(item.complete for item in conversations.values()):
            reasons = count_reasons(list(conversations.values()))
            why = "; ".join(f"{count} × {reason}" for reason, count in list(reasons.items())[:3]) or "every assessment is incomplete"
            raise NothingMadeError(f"{arm} has completed none of its {len(conversations)} conversations ({why}). Fix that and run the evaluation again.")
    return arms


def pair_up(base: Mapping[tuple[int, int], Trial], arm: Mapping[tuple[int, int], Trial], value: Value) -> Pairs:
    """Pair the values of the two arms by persona and trial, where both conversations are complete and have the value."""
    rows = []
    for key in sorted(base.keys() & arm.keys()):
        before, after = (value(item) if item.complete else None for item in (base[key], arm[key]))
        if before is not None and after is not None:
            rows.append((*key, before, after))
    return Pairs(rows)


def count_reasons(items: Sequence[Trial]) -> dict[str, int]:
    """Count the reasons why conversations were lost or spoiled, the most frequent first."""
    reasons = Counter(item.lost or "no reason was recorded" for item in items if item.score is None or item.simulator_broke)
    return dict(sorted(reasons.items(), key=lambda pair: (-pair[1], pair[0])))
