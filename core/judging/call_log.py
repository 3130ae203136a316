"""The answered calls of an assessment in progress, each written to disk as soon as its answer arrives."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from core.judging.empty_words import plain
from core.packs.rubric import Criterion
from core.records import Answer, Record, Verdict
from core.storage.line_log import LineLog
from core.storage.locks import Lock
from core.storage.store import Store

FOLDER = "judgements"


class Answered(Record):
    """The answer to a call.

    Args:
        call: how often the same criteria were asked before, and their ids, separated by spaces.
        verdicts: one for each criterion.
        repaired: deviations from the form that were ignored in reading the reply.
        heard: counts since the last line (`Heard`).
    """

    call: str
    verdicts: list[Verdict]
    repaired: list[str] = Field(default_factory=list)
    heard: dict[str, int] = Field(default_factory=dict)


class Heard(Record):
    """Counts of verdicts in replies, including replies that are not stored.

    Args:
        heard: number of verdicts, and of those that say nothing (core/judging/empty_words.py).
    """

    heard: dict[str, int]


class Refused(Record):
    """A reply with at least one unusable verdict.

    Args:
        refused: the call.
        heard: counts since the last line (`Heard`).
    """

    refused: str
    heard: dict[str, int] = Field(default_factory=dict)


class JudgementLog:
    """A judge's answers about a transcript so far; an assessment that was stopped, or is incomplete, continues from them.

    If the log was damaged, the valid lines are used: those that belong to the assessment and answer the criteria of their call.

    Args:
        store: the data root; None keeps the log in memory.
        name: name of the assessment; it changes with the transcript, the judge, the rubric and the mode.
        lock: lock of the run that makes the assessment.

    Attributes:
        heard: number of verdicts in all replies, and of those that say nothing (core/judging/empty_words.py).
        without_verdict: whether a reply had no verdict at all since the log was opened.
    """

    def __init__(self, store: Store | None = None, name: str = "", lock: Lock | None = None) -> None:
        """Read the stored log."""
        self.heard: Counter[str] = Counter()
        self._heard_before: Counter[str] = Counter()
        self.without_verdict = False
        self._found: dict[str, Answered] = {}
        self._refused: Counter[str] = Counter()
        self._log = LineLog(store, FOLDER, name, self._take, in_order=False, lock=lock)

    @property
    def damage(self) -> str | None:
        """What was wrong with the stored log; None if nothing was."""
        return self._log.damage

    def _take(self, line: dict[str, Any]) -> None:
        """Take a stored line.

        Raises:
            ValueError: it does not answer its call.
        """
        if "refused" in line:
            refused = Refused.model_validate(line)
            self._refused[refused.refused] += 1
            self._count(refused.heard)
            return
        if "heard" in line and "call" not in line:
            self._count(Heard.model_validate(line).heard)
            return
        answer = Answered.model_validate(line)
        again, *asked = answer.call.split(" ")
        if not again.isdecimal() or sorted(verdict.criterion for verdict in answer.verdicts) != sorted(asked):
            raise ValueError(f"it does not answer what the call {answer.call!r:.80} asked")
        if any(verdict.answer is Answer.ERROR for verdict in answer.verdicts):
            raise ValueError(f"it has no usable answer to the call {answer.call!r:.80}")
        self._found[answer.call] = answer
        self._count(answer.heard)

    def _count(self, heard: dict[str, int]) -> None:
        self.heard.update(heard)
        self._heard_before.update(heard)

    @property
    def answers(self) -> dict[str, list[Verdict]]:
        """The verdicts, by call."""
        return {call: found.verdicts for call, found in self._found.items()}

    def said_of_others(self, criteria: Sequence[Criterion]) -> dict[str, str]:
        """Return the reasonings about all other criteria, in the form in which `plain` compares them, each with its criterion."""
        asked = {criterion.id for criterion in criteria}
        return {plain(item.reasoning): item.criterion for answer in self._found.values() for item in answer.verdicts if item.criterion not in asked}

    @property
    def repaired(self) -> dict[str, int]:
        """Deviations from the form that were ignored, each with its number of replies."""
        return dict(sorted(Counter(name for answer in self._found.values() for name in answer.repaired).items()))

    def add(self, call: str, verdicts: Sequence[Verdict], repaired: Sequence[str] = ()) -> None:
        """Store an answer.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the assessment over.
        """
        answer = Answered(call=call, verdicts=list(verdicts), repaired=list(repaired), heard=self._new())
        self._log.add(answer.model_dump(mode="json"))
        self._found[call], self._heard_before = answer, self.heard.copy()

    def refused(self, call: str) -> int:
        """Return the number of refused replies to a call."""
        return self._refused[call]

    def refuse(self, call: str) -> None:
        """Record a refused reply, so that the call is not sent with the same seed again.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the assessment over.
        """
        self._log.add(Refused(refused=call, heard=self._new()).model_dump(mode="json"))
        self._refused[call], self._heard_before = self._refused[call] + 1, self.heard.copy()

    def keep_heard(self) -> None:
        """Store the counts since the last line, because another process will complete the assessment.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the assessment over.
        """
        if any((counted := self._new()).values()):
            self._log.add(Heard(heard=counted).model_dump(mode="json"))
            self._heard_before = self.heard.copy()

    def _new(self) -> dict[str, int]:
        return {name: count - self._heard_before[name] for name, count in self.heard.items()}

    def remove(self) -> None:
        """Delete the log of an assessment that is complete and stored."""
        self._log.remove()
