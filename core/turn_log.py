"""The messages of a conversation that is under way, on disk as soon as they are there."""

import json
from collections.abc import Callable

from core.chat import Side
from core.records import Record
from core.store import Store

FOLDER = "turns"


class Turn(Record):
    """One message that was written.

    Args:
        done: whether the user takes leave with it.
    """

    side: Side
    text: str
    done: bool = False


class TurnLog:
    """What was said so far in the conversation of a name; a run that was killed goes on from it.

    Args:
        name: the transcript's id, which is different for another pack or model.
    """

    def __init__(self, store: Store, name: str) -> None:
        """Read what is there; a line that a kill cut short is a message that was not written."""
        self._store, self._path = store, f"{FOLDER}/{name}.jsonl"
        text = store.read(self._path) if store.exists(self._path) else ""
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        self.turns = [Turn.model_validate_json(line) for line in whole]
        self._append: Callable[[str], None] | None = None
        if len(text) > sum(map(len, whole)):
            store.write(self._path, "".join(whole))

    def add(self, turn: Turn) -> None:
        """Write a message.

        Raises:
            StoreError: the data root cannot be written.
        """
        self.turns.append(turn)
        if self._append is None:
            self._append = self._store.appender(self._path)
        self._append(json.dumps(turn.model_dump(), ensure_ascii=False) + "\n")

    def remove(self) -> None:
        """Delete the log of a conversation whose transcript is stored."""
        self._store.remove(self._path)
