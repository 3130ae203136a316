"""Locks on an object store: leases of processes that show by a heartbeat that they are alive.

Each process rewrites one object, its heartbeat, at regular intervals. To take a lock, a process writes an object into the lock's folder and lists the
folder. It has the lock if the folder has no object of another living process. If two processes try at once, each sees the other, and one withdraws. This
needs no conditional writes, only listings that show all earlier writes, as S3, Google Cloud Storage and Azure guarantee.

A process is considered dead when its heartbeat has not changed for `DEAD_SECONDS` by the observer's clock, or when it ran on the observer's machine and has
ended. It is then permanently marked as dead. A process may write while its last heartbeat is younger than `VALID_SECONDS`. After that, it first checks
whether it was marked, so a process that was suspended or offline for minutes finds out before it writes.
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
"""Seconds from the start of writing a heartbeat during which the process may write: three heartbeats may fail."""
DEAD_SECONDS = 60.0
"""Seconds without a new heartbeat after which a process is dead. More than `VALID_SECONDS`, so that it stops writing before another takes its place."""

TIES = 5
"""Number of times that a process lists the folder again, to wait until a process that tried at the same time has withdrawn."""
TIE_SECONDS = 0.1


def now() -> float:
    """Return the seconds of a clock that continues to run while the machine sleeps."""
    return time.clock_gettime(getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC))


@dataclass
class Owner:
    """This process as the owner of leases, visible to others in the store."""

    store: Store
    pid: int = field(default_factory=os.getpid)
    token: str = field(default_factory=lambda: uuid4().hex)
    lost: bool = False

    def __post_init__(self) -> None:
        """Write the first heartbeat and start the thread that writes the others."""
        self._since = f"{datetime.now().astimezone():%Y-%m-%d %H:%M:%S}"
        self._beats, self._valid_until = itertools.count(), 0.0
        self._numbers, self._writing = itertools.count(), threading.Lock()
        self.beat()
        threading.Thread(target=self._beat_on, name="heartbeat", daemon=True).start()

    def beat(self) -> None:
        """Write the heartbeat and check that no other process has marked this one as dead.

        Raises:
            LostError: another process has.
            StoreError: the store does not answer.
        """
        with self._writing:
            started = now()
            self.store.write(f"{OWNERS}/{self.token}.json", json.dumps({**_here(), "since": self._since, "beat": next(self._beats)}))
            if self.lost or self.store.exists(f"{OWNERS}/{self.token}.dead"):
                self.lost = True
                raise LostError(
                    "This run has not renewed its lease for too long, and another may have taken over its work. It writes nothing more; "
                    "run the same command again: everything made so far is kept."
                )
            self._valid_until = started + VALID_SECONDS

    def check(self) -> None:
        """Check that this process may write.

        Raises:
            LostError: it may not.
            StoreError: the store does not answer.
        """
        if self.lost or now() >= self._valid_until:
            self.beat()

    def next_name(self) -> str:
        """Return a new name for an object in a lock's folder, which begins with this process's token."""
        return f"{self.token}-{next(self._numbers):08d}"

    def _beat_on(self) -> None:
        while not self.lost:
            time.sleep(BEAT_SECONDS)
            with suppress(Exception):  # after any failure the next heartbeat is tried; the last successful one stays valid for VALID_SECONDS
                self.beat()


@dataclass
class Lease:
    """A lock on an object store."""

    owner: Owner
    path: str
    released: bool = False

    def check(self) -> None:
        """Check that the lock is still held.

        Raises:
            LostError: another process may have taken it over.
            StoreError: the store does not answer.
        """
        self.owner.check()

    def release(self) -> None:
        """Release the lock; if the store does not answer, it is released when the process ends."""
        if not self.released:
            self.released = True
            with suppress(StoreError, OSError):
                self.owner.store.remove(self.path)


def take_lease(store: Store, place: str, name: str) -> Lease:
    """Take a lock without waiting.

    Args:
        store: the object store.
        place: path of the lock.
        name: name of the locked thing, for messages.

    Raises:
        HeldError: another process has the lock.
        StoreError: the store does not answer.
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
"""By store and process, its last heartbeat and the time at which this process first saw it."""
_CREATING = threading.Lock()


def _owner(store: Store) -> Owner:
    """Return this process's identity in the store; a forked process, or one that was marked as dead, gets a new identity."""
    with _CREATING:
        owner = _OWNERS.get(store.root)
        if owner is None or owner.pid != os.getpid() or owner.lost:
            owner = _OWNERS[store.root] = Owner(store)
        return owner


def _is_dead(store: Store, token: str) -> bool:
    """Return whether a process is dead and so holds no lock; a process that is found dead is marked."""
    mark = f"{OWNERS}/{token}.dead"
    if store.exists(mark):
        return True
    owner = _read(store, token)
    if owner is None:
        return True  # a process writes its heartbeat before it takes any lock
    beat, since = _SEEN.setdefault((store.root, token), (owner.get("beat"), now()))
    if owner.get("beat") != beat:
        _SEEN[store.root, token] = (owner.get("beat"), now())
        return False
    if not _is_gone_here(owner):
        if now() - since < DEAD_SECONDS:
            return False
        store.write(mark, "dead\n")
        if (_read(store, token) or {}).get("beat") != beat:  # it wrote a heartbeat at the same time, and may not have seen the mark
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
    """Return the identity of this process and its machine."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "machine": _machine(), "started": _started(os.getpid())}


def _machine() -> str:
    """Return an identifier of this machine's current boot and its namespace of process IDs; empty if the system provides none."""
    with suppress(OSError):
        return f"{Path('/proc/sys/kernel/random/boot_id').read_text(encoding='ascii').strip()} {Path('/proc/self/ns/pid').readlink()}"
    return ""


def _started(pid: int) -> str:
    """Return the start time of a process of this machine, which distinguishes it from a later one with the same ID; empty if unknown."""
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()[19]
    return ""


def _is_gone_here(owner: dict[str, Any]) -> bool:
    """Return whether a process ran on this machine and has ended."""
    pid = owner.get("pid")
    if not _machine() or owner.get("machine") != _machine() or not isinstance(pid, int):
        return False
    return not is_running(pid) or _started(pid) != owner.get("started")
