"""Locks on an object store: leases of processes that show, by a heartbeat, that they live.

Each process has one object that it writes again and again, its heartbeat. Who wants a lock writes an object of its own into the lock's folder, lists the
folder, and has the lock if nobody else who lives is in it; of two who come at once, each sees the other, and one steps back. That needs no conditional
write, only that a listing shows what was written before it, as S3, Google Cloud Storage and Azure promise.

A process counts as dead when its heartbeat has not changed for `DEAD_SECONDS` by the clock of who looks, or when it ran on the looker's machine and is gone.
It is marked as dead then, for good. A process writes only as long as its last heartbeat is fresher than `VALID_SECONDS`, and else looks first whether
it was marked: one that was stopped for minutes, or cut off, finds out before it writes.
"""

import itertools
import json
import os
import socket
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import uuid4

from core.errors import HeldError, LostError, StoreError
from core.processes import is_running
from core.storage.store import Store

OWNERS = ".locks/owners"

BEAT_SECONDS = 10.0
VALID_SECONDS = 35.0
"""After a heartbeat was begun to be written: three may fail."""
DEAD_SECONDS = 60.0
"""More than `VALID_SECONDS`, so that a process has stopped to write before another takes its place."""

TIES = 5
"""Looks of one of two that came at once, until the other has stepped back."""
TIE_SECONDS = 0.1


def now() -> float:
    """Return seconds on a clock that runs on while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class Owner:
    """This process, as others see it in the store."""

    store: Store
    pid: int = field(default_factory=os.getpid)
    token: str = field(default_factory=lambda: uuid4().hex)
    lost: bool = False

    def __post_init__(self) -> None:
        """Show that it lives, from now on."""
        self._since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        self._beats, self._valid_until = itertools.count(), 0.0
        self._numbers, self._writing = itertools.count(), threading.Lock()
        self.beat()
        threading.Thread(target=self._beat_on, name="heartbeat", daemon=True).start()

    def beat(self) -> None:
        """Write the heartbeat and see that nobody has marked this process as dead.

        Raises:
            LostError: somebody has. StoreError: the store does not answer.
        """
        with self._writing:
            begun = now()
            self.store.write(f"{OWNERS}/{self.token}.json", json.dumps({**_here(), "since": self._since, "beat": next(self._beats)}))
            if self.lost or self.store.exists(f"{OWNERS}/{self.token}.dead"):
                self.lost = True
                raise LostError(
                    "This run has not renewed its lease for too long, and another may have taken over its work. It writes nothing more; "
                    "run the same command again: what was made is kept."
                )
            self._valid_until = begun + VALID_SECONDS

    def check(self) -> None:
        """Check that this process may write.

        Raises:
            LostError: it may not. StoreError: the store does not answer.
        """
        if self.lost or now() >= self._valid_until:
            self.beat()

    def next_name(self) -> str:
        """Return the name of an object that shows what it holds."""
        return f"{self.token}-{next(self._numbers):08d}"

    def _beat_on(self) -> None:
        while not self.lost:
            time.sleep(BEAT_SECONDS)
            with suppress(Exception):  # whatever fails, the next beat is tried; until then the lease is valid only as long as the last one said
                self.beat()


@dataclass
class Lease:
    """A lock on an object store."""

    owner: Owner
    path: str
    released: bool = False

    def check(self) -> None:
        """Check that it is still held.

        Raises:
            LostError: another process may have taken it over. StoreError: the store does not answer.
        """
        self.owner.check()

    def release(self) -> None:
        """Let it go; where the store does not answer, it goes with the process."""
        if not self.released:
            self.released = True
            with suppress(StoreError, OSError):
                self.owner.store.remove(self.path)


def take_lease(store: Store, place: str, name: str) -> Lease:
    """Take a lock, or say at once that another has it.

    Args:
        place: the lock's folder.
        name: what is locked, in words.

    Raises:
        HeldError: another has it. StoreError: the store does not answer.
    """
    owner, folder = _owner(store), f"{place}.held"
    _refuse_if_held(store, folder, name)
    path = store.write(f"{folder}/{owner.next_name()}", "held\n")
    lease = Lease(owner, path)
    try:
        for _ in range(TIES):
            others = [other for other in store.names(folder) if other != path]
            living = [other for other in others if not _is_dead(store, _token(other))]
            if not living:
                owner.check()
                for other in others:
                    store.remove(other)
                return lease
            if path > min(living):
                break
            time.sleep(TIE_SECONDS)
        _refuse_if_held(store, folder, name, path)
        raise HeldError(f"{name} was taken by two processes at once; both released it.", "another process")
    except BaseException:
        lease.release()
        raise


def _refuse_if_held(store: Store, folder: str, name: str, own: str = "") -> None:
    for other in store.names(folder):
        if other != own and not _is_dead(store, _token(other)):
            owner = _read(store, _token(other)) or {}
            holder = f"process {owner.get('pid', '?')} on {owner.get('host', '?')}"
            raise HeldError(f"{name} is being made by {holder}, a run since {owner.get('since', '?')}.", holder)


_OWNERS: dict[str, Owner] = {}
_SEEN: dict[tuple[str, str], tuple[Any, float]] = {}
"""By store and process, its last heartbeat and when it was first seen here."""
_MAKING = threading.Lock()


def _owner(store: Store) -> Owner:
    """Return this process as the store knows it; one that was forked, or was marked as dead, begins as another."""
    with _MAKING:
        owner = _OWNERS.get(store.root)
        if owner is None or owner.pid != os.getpid() or owner.lost:
            owner = _OWNERS[store.root] = Owner(store)
        return owner


def _is_dead(store: Store, token: str) -> bool:
    """Say whether a process no longer holds anything, and mark one that has died."""
    mark = f"{OWNERS}/{token}.dead"
    if store.exists(mark):
        return True
    owner = _read(store, token)
    if owner is None:
        return True  # it is written before all that it holds
    beat, since = _SEEN.setdefault((store.root, token), (owner.get("beat"), now()))
    if owner.get("beat") != beat:
        _SEEN[store.root, token] = (owner.get("beat"), now())
        return False
    if not _is_gone_here(owner):
        if now() - since < DEAD_SECONDS:
            return False
        store.write(mark, "dead\n")
        if (_read(store, token) or {}).get("beat") != beat:  # it wrote while it was marked, and may not have seen the mark
            store.remove(mark)
            return False
        return True
    store.write(mark, "dead\n")
    return True


def _read(store: Store, token: str) -> dict[str, Any] | None:
    path = f"{OWNERS}/{token}.json"
    if not store.exists(path):
        return None
    try:
        owner = json.loads(store.read(path))
    except (StoreError, ValueError):
        return {} if store.exists(path) else None
    return owner if isinstance(owner, dict) else {}


def _token(path: str) -> str:
    return path.rpartition("/")[2].partition("-")[0]


def _here() -> dict[str, Any]:
    """Return which process this is, and on which machine."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "started": _started(os.getpid())}


def _machine() -> str:
    """Return what tells this machine, since its start, and its numbering of processes from all others; empty where the system does not say."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> str:
    """Return when a process of this machine was started, which tells it from a later one of the same number."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return ""


def _is_gone_here(owner: dict[str, Any]) -> bool:
    """Say whether a process ran on this machine and has ended."""
    pid = owner.get("pid")
    if not _machine() or owner.get("machine") != _machine() or not isinstance(pid, int):
        return False
    return not is_running(pid) or _started(pid) != owner.get("started")
