"""A file of JSON lines that one process adds to, for what must survive a kill at any moment."""

import json
from collections.abc import Callable
from typing import Any

from core.store import Store


class LineLog:
    """Lines that are on disk as soon as they are added.

    Args:
        store: where it is kept; none keeps it in memory.
        path: below the data root.
    """

    def __init__(self, store: Store | None, path: str) -> None:
        """Read what is there; a line that a kill cut short was not added, and is taken away."""
        self._store, self._path = store, path
        self._append: Callable[[str], None] | None = None
        text = store.read(path) if store and store.exists(path) else ""
        whole = [line for line in text.splitlines(keepends=True) if line.endswith("\n")]
        self.lines: list[Any] = [json.loads(line) for line in whole]
        if store and len(text) > sum(map(len, whole)):
            store.write(path, "".join(whole))

    def add(self, line: str) -> None:
        """Add a line of JSON.

        Raises:
            StoreError: the data root cannot be written.
        """
        if not self._store:
            return
        if self._append is None:
            self._append = self._store.appender(self._path)
        self._append(line + "\n")

    def remove(self) -> None:
        """Delete the file: what it was kept for is stored."""
        if self._store:
            self._store.remove(self._path)
