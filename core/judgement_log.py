"""The answered calls of an assessment that is under way, on disk as soon as they are there."""

import json
from collections.abc import Sequence

from core.line_log import LineLog
from core.records import Verdict
from core.store import Store

FOLDER = "judgements"


class JudgementLog:
    """What a judge has answered about a transcript so far; an assessment that was stopped, or stayed incomplete, goes on from it.

    Args:
        store: where it is kept; none keeps it in memory.
        name: the assessment's, which is different for other words, another judge, rubric or mode.
    """

    def __init__(self, store: Store | None = None, name: str = "") -> None:
        """Read what is there; a line that a kill cut short is a call that was not answered."""
        self._log = LineLog(store, f"{FOLDER}/{name}.jsonl")
        self._found = {line["call"]: [Verdict.model_validate(verdict) for verdict in line["verdicts"]] for line in self._log.lines}

    def find(self, call: str) -> list[Verdict] | None:
        """Return what was answered to a call, if it was."""
        return self._found.get(call)

    def add(self, call: str, verdicts: Sequence[Verdict]) -> None:
        """Keep an answer.

        Raises:
            StoreError: the data root cannot be written.
        """
        self._found[call] = list(verdicts)
        self._log.add(json.dumps({"call": call, "verdicts": [verdict.model_dump(mode="json") for verdict in verdicts]}, ensure_ascii=False))

    def remove(self) -> None:
        """Delete the log of an assessment that is complete and stored."""
        self._log.remove()
