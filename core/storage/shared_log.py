"""A log of JSON lines that several processes add to; what each adds, it decides with all in view that the others added before."""

import errno
import fcntl
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from pydantic_core import to_json

from core.errors import StoreError
from core.storage.json_lines import read_objects
from core.storage.store import Store
from core.storage.traces import trace
from core.storage.whole_files import failure

Line = dict[str, Any]
Decide = Callable[[Sequence[Line]], Line | None]
"""Takes the lines that others have added since the last time, and returns one to add, or none. It may be asked several times."""


PIECE = 250_000
"""Bytes that are read at a time: the lines of a long run take nine times their size in memory."""


class SharedLog(Protocol):
    """What the processes of a run share.

    Attributes:
        damaged: lines that are none, so far.
    """

    damaged: int

    def exchange(self, decide: Decide) -> None:
        """Read what others added, and add a line; nobody adds one in between.

        Raises:
            StoreError: the data root cannot be read or written.
        """
        ...


def open_shared_log(store: Store, path: str) -> SharedLog:
    """Return a log.

    Args:
        path: below the data root, without an ending.
    """
    return LocalLog(store, f"{path}.jsonl") if store.is_local else ObjectLog(store, path)


class LocalLog:
    """One file, locked (flock) by the process that decides; the lock ends with it.

    The lock is on the file that is read: a network file system then shows what other machines wrote.
    """

    def __init__(self, store: Store, path: str) -> None:
        """Take the place; the file is made when it is first needed."""
        self._store, self._path = store, path
        self._handle: int | None = None
        self._read = self.damaged = 0

    def exchange(self, decide: Decide) -> None:
        """Read what others added, and add a line, under the lock.

        Raises:
            StoreError: it cannot be read or written.
        """
        if self._handle is None and not self._store.exists(self._path) and decide([]) is None:
            return  # nothing to read, nothing to add: no file
        try:
            with self._locked() as handle:
                line = None
                for news in self._news(handle):
                    line = decide(news)  # with all in view after the last
                if line is not None:
                    self._add(handle, to_json(line) + b"\n")
        except OSError as error:
            raise failure("write", f"{self._store.root}/{self._path}", error) from error

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Give the file back to the system; at its end, the interpreter has taken `os` apart."""
        if self._handle is not None:
            close(self._handle)

    @contextmanager
    def _locked(self) -> Generator[int]:
        if self._handle is None:
            path = self._store.local(self._path)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        fcntl.flock(self._handle, fcntl.LOCK_EX)
        try:
            yield self._handle
        finally:
            fcntl.flock(self._handle, fcntl.LOCK_UN)

    def _news(self, handle: int) -> Generator[list[Line]]:
        """Return the lines since the last time, piece by piece. What a kill left of a line is cut off: nobody else is writing now."""
        size, data = os.fstat(handle).st_size, b""
        while self._read + len(data) < size and (piece := os.pread(handle, min(PIECE, size - self._read - len(data)), self._read + len(data))):
            data += piece
            whole = data.rfind(b"\n") + 1
            if whole and self._read + len(data) < size:
                self._read += whole
                yield self._objects(data[:whole])
                data = data[whole:]
        whole = data.rfind(b"\n") + 1
        if whole < len(data):
            os.ftruncate(handle, self._read + whole)
        self._read += whole
        yield self._objects(data[:whole])

    def _objects(self, data: bytes) -> list[Line]:
        found = read_objects(data)
        self.damaged += data.count(b"\n") - len(found)
        return found

    def _add(self, handle: int, line: bytes) -> None:
        if os.write(handle, line) < len(line):  # a full disk takes what it can
            os.ftruncate(handle, self._read)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._read += len(line)
        if noted := trace():
            noted.appends(self._path)


class ObjectLog:
    """Numbered objects of one line each, created only if the number is free: the second process reads the other's line and decides again.

    Object stores can do that (S3: `If-None-Match`, https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
    """

    def __init__(self, store: Store, path: str) -> None:
        """Take the place."""
        self._store, self._path = store, path
        self._next, self._proven, self.damaged = 0, False, 0

    def exchange(self, decide: Decide) -> None:
        """Add a line as the next object, and read what others added where its number is taken.

        Raises:
            StoreError: it cannot be read or written, or the storage replaces objects that are there.
        """
        news = self._all() if self._next == 0 else []
        while True:
            line = decide(news)
            if line is not None and self._store.create(name := self._name(self._next), content := to_json(line) + b"\n"):
                self._prove(name, content)
                self._next += 1
                return
            if not (news := self._news()) and line is None:
                return

    def _name(self, number: int) -> str:
        return f"{self._path}-{number:08d}.jsonl"

    def _all(self) -> list[Line]:
        folder, _, beginning = self._path.rpartition("/")
        found = self._store.read_many(self._store.names(folder, ".jsonl", beginning=f"{beginning}-"))
        self._next = len(found)
        lines = read_objects(b"".join(found))
        self.damaged += len(found) - len(lines)
        return lines

    def _news(self) -> list[Line]:
        found: list[Line] = []
        while self._store.exists(name := self._name(self._next)):
            found += read_objects(self._store.read_bytes(name))
            self._next += 1
        return found

    def _prove(self, name: str, content: bytes) -> None:
        if not self._proven and self._store.create(name, b"\n"):
            self._store.write(name, content)
            raise StoreError(
                f"{self._store.root} replaces files that it should refuse to replace, so processes cannot share a budget. Set UNDERSTUDY_DATA to a "
                "folder, or to a storage with conditional writes, such as S3."
            )
        self._proven = True
