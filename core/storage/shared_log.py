"""A log of JSON lines that several processes append to. Each process sees all lines of the others before it decides what to append."""

import errno
import fcntl
import os
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from pydantic_core import to_json

from core.errors import StoreError
from core.storage.json_lines import read_objects
from core.storage.store import Store
from core.storage.traces import trace
from core.storage.whole_files import failure

Line = dict[str, Any]
Decide = Callable[[Sequence[Line]], Line | None]
"""A function that receives the lines that others have added since its last call, and returns a line to add or None. It may be called several times."""

PIECE = 250_000
"""Bytes that are read at a time, because parsed lines take nine times their size in memory."""


DIGITS = 20
"""Digits of the number of bytes that were ever written to a log."""


class SharedLog(Protocol):
    """A log that the processes of a run share.

    Attributes:
        damaged: number of invalid lines read so far.
    """

    damaged: int

    @property
    def lost(self) -> str:
        """What was written to the log and is no longer there, such as `120 bytes`; empty if nothing."""
        ...

    def exchange(self, decide: Decide) -> None:
        """Read the lines that others added, then add a line; no other process can add one in between.

        Raises:
            StoreError: the data root cannot be read or written.
        """
        ...


def open_shared_log(store: Store, path: str) -> SharedLog:
    """Return a log.

    Args:
        store: the data root.
        path: path below the data root, without suffix.
    """
    return LocalLog(store, f"{path}.jsonl") if store.is_local else ObjectLog(store, path)


class LocalLog:
    """A log in one local file, which is locked (flock) during an exchange; the lock ends with the process.

    The locked file is the one that is read, which makes a network file system show what other machines have written. A second file has the number of bytes
    that were ever written, so that a log that was cut is noticed. A killed process does not look like that: it leaves more than it counted, not less.
    """

    def __init__(self, store: Store, path: str) -> None:
        """Create a log; its files are created when they are first needed."""
        self._store, self._path = store, path
        self._handle: int | None = None
        self._counter: int | None = None
        self._read = self.damaged = self._missing = 0

    @property
    def lost(self) -> str:
        """The bytes that were written and are no longer there."""
        return f"{self._missing:,} bytes" if self._missing else ""

    def exchange(self, decide: Decide) -> None:
        """Read the lines that others added, then add a line, under the lock.

        Raises:
            StoreError: the file cannot be read or written.
        """
        if self._handle is None and not self._store.exists(self._path) and decide([]) is None:
            return  # nothing to read or add, so no file is created
        try:
            with self._locked() as handle:
                line = None
                for news in self._news(handle):
                    line = decide(news)  # only the decision after the last piece, with all lines seen, counts
                if line is not None:
                    self._add(handle, to_json(line) + b"\n")
        except OSError as error:
            raise failure("write", f"{self._store.root}/{self._path}", error) from error

    def __del__(self, close: Callable[[int], None] = os.close) -> None:
        """Close the file. `close` is a default argument because `os` may already be cleared when the interpreter exits."""
        for handle in (self._handle, self._counter):
            if handle is not None:
                close(handle)

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
        """Yield the lines since the last time in pieces. An incomplete last line is cut off: under the lock, only a killed process can have left it."""
        size, data, before = os.fstat(handle).st_size, b"", 0
        if size < self._read:  # cut while this process runs
            before, self._read = self._read, 0
        while self._read + len(data) < size and (piece := os.pread(handle, min(PIECE, size - self._read - len(data)), self._read + len(data))):
            data += piece
            end = data.rfind(b"\n") + 1
            if end and self._read + len(data) < size:
                self._read += end
                yield self._objects(data[:end])
                data = data[end:]
        end = data.rfind(b"\n") + 1
        if end < len(data):
            os.ftruncate(handle, self._read + end)
        self._read += end
        if self._counter is None:
            path = f"{self._store.local(self._path)}".removesuffix(".jsonl")  # not a path of the store: no command's output depends on this file
            self._counter = os.open(f"{path}.written", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
            written = os.pread(self._counter, DIGITS, 0)
            before = int(written) if written.isdigit() else 0
        self._missing += max(0, before - self._read)
        yield self._objects(data[:end])

    def _objects(self, data: bytes) -> list[Line]:
        lines = read_objects(data)
        self.damaged += data.count(b"\n") - len(lines)
        return lines

    def _add(self, handle: int, line: bytes) -> None:
        if os.write(handle, line) < len(line):  # a full disk writes only a part
            os.ftruncate(handle, self._read)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._read += len(line)
        with suppress(OSError):  # the line is written
            os.pwrite(self._counter or 0, b"%0*d" % (DIGITS, self._read + self._missing), 0)
        if current := trace():
            current.appends(self._path)


class ObjectLog:
    """A log of numbered objects with one line each. An object is created only if its number is free; otherwise the process reads the object and decides again.

    Source: S3's conditional writes (`If-None-Match`, https://docs.aws.amazon.com/AmazonS3/latest/userguide/conditional-writes.html).
    """

    def __init__(self, store: Store, path: str) -> None:
        """Create a log without reading it."""
        self._store, self._path = store, path
        self._next, self._proven, self.damaged, self.lost = 0, False, 0, ""

    def exchange(self, decide: Decide) -> None:
        """Read the lines that others added, then add a line as the next object; if its number is taken, repeat both.

        Raises:
            StoreError: an object cannot be read or written, or the storage overwrites existing objects.
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
        names = self._store.names(folder, ".jsonl", beginning=f"{beginning}-")
        contents = self._store.read_many(names)
        numbers = [name.removesuffix(".jsonl").rpartition("-")[2] for name in names]
        self._next = max((int(number) + 1 for number in numbers if number.isdecimal()), default=0)
        missing = self._next - len(names)
        self.lost = f"{missing:,} line{'s' * (missing > 1)}" if missing else ""
        lines = read_objects(b"".join(contents))
        self.damaged += len(contents) - len(lines)
        return lines

    def _news(self) -> list[Line]:
        lines: list[Line] = []
        while self._store.exists(name := self._name(self._next)):
            lines += read_objects(self._store.read_bytes(name))
            self._next += 1
        return lines

    def _prove(self, name: str, content: bytes) -> None:
        if not self._proven and self._store.create(name, b"\n"):
            self._store.write(name, content)
            raise StoreError(
                f"{self._store.root} overwrites files that it must not overwrite, so processes cannot share a budget. Set UNDERSTUDY_DATA to a "
                "folder, or to a storage with conditional writes, such as S3."
            )
        self._proven = True
