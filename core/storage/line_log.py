"""A file of JSON lines that one process appends to, for data that must survive if the process is killed at any moment."""

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pydantic import ValidationError

from core.storage.locks import Lock
from core.storage.store import Store
from core.yaml_files import explain


class LineLog:
    """A log whose lines are on disk as soon as they are added, each with the name of the item that it belongs to.

    Existing lines are checked one by one. A line that was truncated because the process was killed is removed. If any other line is damaged, the file is
    kept under another name, and the log continues with the usable lines.

    Args:
        store: the data root; None to store nothing.
        folder: folder below the data root.
        name: name of the item that the log belongs to, which is also that of the file.
        take: called with each existing line; raises ValueError for a line that is invalid.
        in_order: whether each line depends on those before it, so that no line after a damaged one is usable.
        lock: the writer's lock; None if no other process can add lines.
    """

    def __init__(self, store: Store | None, folder: str, name: str, take: Callable[[dict[str, Any]], None], in_order: bool, lock: Lock | None = None) -> None:
        """Read the existing lines."""
        self._store, self._path, self._name, self._lock = store, f"{folder}/{name}.jsonl", name, lock
        self._append: Callable[[str], None] | None = None
        self.damage: str | None = None
        """A message about damage to the file and how it was handled; None if there was none."""
        if store and store.exists(self._path):
            self._read(store, take, in_order)

    def _read(self, store: Store, take: Callable[[dict[str, Any]], None], in_order: bool) -> None:
        data = store.read_bytes(self._path)
        *lines, rest = data.split(b"\n")
        used, problems = [], []
        for number, line in enumerate(lines, start=1):
            try:
                take(self._fields(line))
                used.append(line)
            except (ValueError, RecursionError) as wrong:
                problems.append(f"line {number}: {explain(wrong) if isinstance(wrong, ValidationError) else wrong}")
                if in_order:
                    break
        if problems:
            aside = store.write(f"{self._path}.damaged-{datetime.now(UTC):%Y%m%dT%H%M%S%f}", data)
            self.damage = (
                f"{self._path} is damaged ({problems[0].rstrip('.')}). {len(used)} of its {len(lines)} lines are used, and the rest is made again. "
                f"The file as it was found: {store.root}/{aside}"
            )
        if problems or rest:
            store.write(self._path, b"".join(line + b"\n" for line in used))

    def _fields(self, line: bytes) -> dict[str, Any]:
        fields = json.loads(line)
        if not isinstance(fields, dict):
            raise ValueError(f"found {line[:40].decode(errors='replace')!r} where a JSON object is expected")  # noqa: TRY004  as for any invalid line
        json.dumps(fields, ensure_ascii=False).encode()  # half a surrogate pair cannot be encoded
        if (of := fields.pop("of", None)) != self._name:
            raise ValueError(f"it belongs to {of!r:.80}")
        return fields

    def add(self, fields: dict[str, Any]) -> None:
        """Add a line.

        Raises:
            StoreError: the data root cannot be written, or another process has taken the log over.
        """
        if not self._store:
            return
        if self._lock:
            self._lock.check()
        if self._append is None:
            self._append = self._store.appender(self._path)
        self._append(json.dumps({"of": self._name, **fields}, ensure_ascii=False) + "\n")

    def remove(self) -> None:
        """Delete the file once its item is finished and stored elsewhere."""
        if self._store:
            self._store.remove(self._path)
