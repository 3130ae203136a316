"""Exclusive named locks below the data root, which end with the process that holds them.

In a local folder a lock is `flock(2)` on a file: the system releases it when the process ends for any reason. On NFS it works between machines if
the mount supports locks (version 4, or 3 with lockd; not with `nolock` or `local_lock=flock`). On an object store it is a lease (`core.storage.leases`).
"""

import asyncio
import errno
import fcntl
import os
import random
import socket
import time
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from core.errors import HeldError, StoreError
from core.storage.leases import take_lease
from core.storage.store import Store
from core.storage.whole_files import failure

FOLDER = ".locks"

POLL_SECONDS = 0.2
"""Seconds between attempts to take a held lock; longer on an object store."""
POLL_REMOTE_SECONDS = 2.0

_FILES: set[int] = set()
"""Open files of the locks that this process holds. A forked child closes them; otherwise it would still hold them after this process has ended."""


class Lock(Protocol):
    """A lock that is held."""

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            LostError: another process has taken it over.
            StoreError: the data root does not answer, so this is unknown.
        """

    def release(self) -> None:
        """Release the lock."""


def take_lock(store: Store, name: str) -> Lock:
    """Take a lock without waiting; it also excludes other tasks and threads of the same process.

    Args:
        store: the data root.
        name: any valid file name, such as `turns/00001-abc`.

    Raises:
        HeldError: it is held already; the message says by whom and since when.
        StoreError: the data root cannot be written, or does not support locks.
    """
    if store.is_local:
        return _take_file(store.local(f"{FOLDER}/{name}.lock"), name)
    return take_lease(store, f"{FOLDER}/{name}", name)


@contextmanager
def locked(store: Store, name: str, wait_seconds: float = 0.0) -> Generator[Lock]:
    """Hold a lock during a block, after waiting for it if necessary.

    Raises:
        HeldError: it is still held elsewhere after `wait_seconds`.
        StoreError: as in `take_lock`.
    """
    until = time.monotonic() + wait_seconds
    while True:
        try:
            lock = take_lock(store, name)
            break
        except HeldError:
            if time.monotonic() >= until:
                raise
        time.sleep(pause(store))
    try:
        yield lock
    finally:
        lock.release()


@asynccontextmanager
async def owning(store: Store, name: str, wait_seconds: float = 0.0) -> AsyncGenerator[Lock]:
    """Hold a lock as `locked` does, without blocking the other tasks of the event loop.

    Raises:
        HeldError: it is still held elsewhere after `wait_seconds`.
        StoreError: as in `take_lock`.
    """
    until = time.monotonic() + wait_seconds
    while True:
        try:
            lock = take_lock(store, name) if store.is_local else await _taken(store, name)
            break
        except HeldError:
            if time.monotonic() >= until:
                raise
        await asyncio.sleep(pause(store))
    try:
        yield lock
    finally:
        if store.is_local:
            lock.release()
        else:
            await asyncio.shield(asyncio.to_thread(lock.release))


async def _taken(store: Store, name: str) -> Lock:
    """Take a lease in a thread; if the caller is cancelled meanwhile, the lease is released as soon as it is taken."""
    taking = asyncio.ensure_future(asyncio.to_thread(take_lock, store, name))
    try:
        return await asyncio.shield(taking)
    except asyncio.CancelledError:
        taking.add_done_callback(lambda taken: None if taken.cancelled() or taken.exception() else taken.result().release())
        raise


def pause(store: Store) -> float:
    """Return the seconds to wait before the next attempt, randomised so that waiting processes do not try in step."""
    return (POLL_SECONDS if store.is_local else POLL_REMOTE_SECONDS) * random.uniform(0.5, 1.5)


@dataclass
class _FileLock:
    path: Path
    handle: int

    def check(self) -> None:
        """Do nothing: no other process can take the lock from a living one."""

    def release(self) -> None:
        """Remove the file while it is locked, then release it: a waiting process finds that the file has no name any more, and creates a new one."""
        if self.handle in _FILES:
            self.path.unlink(missing_ok=True)
            _FILES.discard(self.handle)
            os.close(self.handle)


def _take_file(path: Path, name: str) -> Lock:
    while True:
        try:
            handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o666)
        except OSError as error:
            raise failure("write", str(path), error) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if _is_at(handle, path):
                os.ftruncate(handle, 0)
                os.pwrite(handle, f"process {os.getpid()} on {socket.gethostname()}\n{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}\n".encode(), 0)
                _FILES.add(handle)
                return _FileLock(path, handle)
        except BlockingIOError:
            holder, _, since = os.pread(handle, 500, 0).decode(errors="replace").strip().partition("\n")
            raise HeldError(f"{name} is being made by {holder or 'another process'}{since and f', since {since}'}.", holder or "another process") from None
        except OSError as error:
            if error.errno != errno.ESTALE:  # on NFS: the file was removed between opening and locking
                if error.errno in (errno.ENOSPC, errno.EDQUOT):  # no space for the holder's name
                    raise failure("write", str(path), error) from error
                raise StoreError(f"Cannot lock {path}: {error.strerror}. Use a data root on a file system that supports locks.") from error
        finally:
            if handle not in _FILES:
                os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Return whether an open file is still the one at its path; a previous holder may have removed it in the meantime."""
    opened = os.fstat(handle)
    try:
        return opened.st_nlink > 0 and os.path.samestat(opened, path.stat())
    except FileNotFoundError:
        return False


def _close_in_child() -> None:
    for handle in _FILES:
        os.close(handle)
    _FILES.clear()


os.register_at_fork(after_in_child=_close_in_child)
