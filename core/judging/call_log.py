"""The answered calls of an assessment that is under way, on disk as soon as they are there."""

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
    """A call that was answered.

    Args:
        call: how often the same was asked before, and the criteria that it asks.
        repaired: what was looked past to read the reply.
        heard: what was counted since the last line.
    """

    call: str
    verdicts: list[Verdict]
    repaired: list[str] = Field(default_factory=list)
    heard: dict[str, int] = Field(default_factory=dict)


class Heard(Record):
    """What was counted of replies that are not kept.

    Args:
        heard: verdicts, and those that say nothing (core/judging/empty_words.py).
    """

    heard: dict[str, int]


class Refused(Record):
    """A reply to a call that could not be used whole.

    Args:
        refused: the call.
        heard: what was counted since the last line.
    """

    refused: str
    heard: dict[str, int] = Field(default_factory=dict)


class JudgementLog:
    """What a judge has answered about a transcript so far; an assessment that was stopped, or stayed incomplete, continues after it.

    Of a log that another hand has spoilt, every answer is used that belongs to the assessment and answers what its call asked.

    Args:
        store: where it is kept; none keeps it in memory.
        name: the assessment's, which is different for other words, another judge, rubric or mode.
        lock: of the run that makes the assessment.

    Attributes:
        heard: verdicts in all replies, and those that say nothing (core/judging/empty_words.py).
        without_verdict: whether a reply since it was opened had no verdict at all.
    """

    def __init__(self, store: Store | None = None, name: str = "", lock: Lock | None = None) -> None:
        """Read what is there."""
        self.heard: Counter[str] = Counter()
        self._heard_before: Counter[str] = Counter()
        self.without_verdict = False
        self._found: dict[str, Answered] = {}
        self._refused: Counter[str] = Counter()
        self._log = LineLog(store, FOLDER, name, self._take, in_order=False, lock=lock)

    @property
    def damage(self) -> str | None:
        """What was wrong with the log that was found; none if nothing was."""
        return self._log.damage

    def _take(self, line: dict[str, Any]) -> None:
        """Take a line that was kept.

        Raises:
            ValueError: it is no answer to a call.
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
        """What was answered, by call."""
        return {call: found.verdicts for call, found in self._found.items()}

    def said_of_others(self, criteria: Sequence[Criterion]) -> dict[str, str]:
        """Return what was said of other criteria than some, as reasonings are compared, each with its criterion."""
        asked = {criterion.id for criterion in criteria}
        return {plain(item.reasoning): item.criterion for answer in self._found.values() for item in answer.verdicts if item.criterion not in asked}

    @property
    def repaired(self) -> dict[str, int]:
        """What was looked past to read the answers, each with the number of replies."""
        return dict(sorted(Counter(name for answer in self._found.values() for name in answer.repaired).items()))

    def add(self, call: str, verdicts: Sequence[Verdict], repaired: Sequence[str] = ()) -> None:
        """Keep an answer.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the assessment over.
        """
        answer = Answered(call=call, verdicts=list(verdicts), repaired=list(repaired), heard=self._new())
        self._log.add(answer.model_dump(mode="json"))
        self._found[call], self._heard_before = answer, self.heard.copy()

    def refused(self, call: str) -> int:
        """Return how many replies to a call could not be used."""
        return self._refused[call]

    def refuse(self, call: str) -> None:
        """Count a reply that cannot be used, so that no later one is asked for with the same seed.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the assessment over.
        """
        self._log.add(Refused(refused=call, heard=self._new()).model_dump(mode="json"))
        self._refused[call], self._heard_before = self._refused[call] + 1, self.heard.copy()

    def keep_heard(self) -> None:
        """Keep what was counted since it was opened: the assessment is completed by another process.

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
