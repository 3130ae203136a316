"""Two runs never make the same thing at once; a lock ends with the process that holds it."""

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from core.errors import HeldError, LostError
from core.storage import leases, locks
from core.storage.locks import locked, owning, take_lock
from core.storage.store import Store

HOLD = """
import sys, time
from core.storage.locks import take_lock
from core.storage.store import Store
lock = take_lock(Store(sys.argv[1]), "turns/a")
print("held", flush=True)
time.sleep(600)
"""


S3 = pytest.param("s3", marks=pytest.mark.slow)


@pytest.fixture(params=["folder", "memory", S3])
def store(request, tmp_path):
    if request.param == "folder":
        return Store(str(tmp_path))
    if request.param == "memory":
        return Store(f"memory://{tmp_path.name}-{time.monotonic_ns()}")
    return Store(f"{request.getfixturevalue('bucket')}/{time.monotonic_ns()}")


@pytest.fixture
def holder(request, tmp_path):
    """Start a process that holds a lock in a store."""
    begun = []

    def hold(root):
        process = subprocess.Popen([sys.executable, "-c", HOLD, root], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        return process

    yield hold
    for process in begun:
        process.kill()
        process.wait()


@pytest.mark.slow
def test_a_lock_has_one_holder_and_is_released(store):
    with locked(store, "turns/a"):
        with pytest.raises(HeldError, match=rf"turns/a is being made by process {os.getpid()} on \S+, .*since 20"):
            take_lock(store, "turns/a")
        with locked(store, "turns/b"):
            pass
    with locked(store, "turns/a") as lock:
        lock.check()


@pytest.mark.slow
def test_only_one_of_several_threads_holds_a_lock_at_a_time(store, monkeypatch):
    monkeypatch.setattr(locks, "POLL_REMOTE_SECONDS", 0.05)
    inside, most = [], []
    start = threading.Barrier(3)

    def work(number):
        start.wait()
        with locked(store, "ledger/run", wait_seconds=60):
            inside.append(number)
            most.append(len(inside))
            time.sleep(0.005)
            inside.remove(number)

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(work, range(3)))
    assert most == [1] * 3


async def test_tasks_wait_for_a_lock_without_blocking_the_event_loop(tmp_path):
    store, order = Store(str(tmp_path)), []

    async def work(number):
        async with owning(store, "x", wait_seconds=60):
            order.append(number)
            await asyncio.sleep(0.01)
            order.append(number)

    await asyncio.gather(*(work(number) for number in range(4)))
    assert order[::2] == order[1::2]
    assert sorted(order[::2]) == [0, 1, 2, 3]


@pytest.mark.parametrize("kind", ["folder", S3])
def test_the_lock_of_a_killed_process_is_free(kind, request, tmp_path, holder):
    store = Store(str(tmp_path) if kind == "folder" else f"{request.getfixturevalue('bucket')}/{time.monotonic_ns()}")
    process = holder(store.root)
    with pytest.raises(HeldError, match=f"process {process.pid} on"):
        take_lock(store, "turns/a")
    process.kill()
    process.wait()
    with locked(store, "turns/a"):
        pass


def test_a_stopped_process_keeps_its_lock_on_a_folder(tmp_path, holder):
    process = holder(str(tmp_path))
    process.send_signal(signal.SIGSTOP)
    with pytest.raises(HeldError):
        take_lock(Store(str(tmp_path)), "turns/a")


def test_a_child_does_not_hold_its_parents_locks(tmp_path):
    """Neither a program that is started nor a fork that outlives the holder keeps the lock."""
    script = (
        "import os, subprocess, sys, time\nfrom core.storage.locks import take_lock\nfrom core.storage.store import Store\n"
        "lock = take_lock(Store(sys.argv[1]), 'turns/a')\n"
        "started = subprocess.Popen(['sleep', '60'], close_fds=False)\n"
        "read, write = os.pipe()\n"
        "forked = os.fork()\n"
        "if forked == 0: os.write(write, b'1'); time.sleep(60)\n"
        "os.read(read, 1)\n"
        "print(started.pid, forked, flush=True)\nos.kill(os.getpid(), 9)\n"
    )
    done = subprocess.Popen([sys.executable, "-c", script, str(tmp_path)], stdout=subprocess.PIPE, text=True)
    assert done.stdout is not None
    children = [int(pid) for pid in done.stdout.readline().split()]
    done.wait()
    try:
        with locked(Store(str(tmp_path)), "turns/a"):
            pass
    finally:
        for pid in children:
            os.kill(pid, signal.SIGKILL)


@pytest.fixture
def elsewhere(store, monkeypatch):
    """A process of another machine that holds the lock, and a simulated clock."""
    clock = [1000.0]
    monkeypatch.setattr(leases, "now", lambda: clock[0])
    monkeypatch.setattr(leases, "BEAT_SECONDS", 3600.0)
    with monkeypatch.context() as other:
        other.setattr(leases, "_machine", lambda: "another")
        lock = take_lock(store, "turns/a")
    leases._OWNERS.pop(store.root)  # from here on this is another process
    return clock, lock


@pytest.mark.parametrize("store", ["memory", S3], indirect=True)
def test_a_remote_process_loses_its_lock_after_missed_heartbeats_and_stops_writing(store, elsewhere):
    clock, lock = elsewhere
    with pytest.raises(HeldError):
        take_lock(store, "turns/a")
    clock[0] += leases.DEAD_SECONDS - 1
    with pytest.raises(HeldError):
        take_lock(store, "turns/a")
    clock[0] += 1
    with locked(store, "turns/a") as mine:
        with pytest.raises(LostError):
            lock.check()
        mine.check()
    lock.release()
    with pytest.raises(LostError):
        lock.check()


@pytest.mark.parametrize("store", ["memory", S3], indirect=True)
def test_a_remote_process_with_heartbeats_keeps_its_lock(store, elsewhere):
    clock, lock = elsewhere
    for _ in range(5):
        with pytest.raises(HeldError):
            take_lock(store, "turns/a")
        clock[0] += leases.DEAD_SECONDS - 1
        lock.check()


@pytest.mark.parametrize("store", ["memory", S3], indirect=True)
def test_a_heartbeat_during_the_takeover_keeps_the_lock(store, elsewhere, monkeypatch):
    """Either the process that takes over or the one taken over notices the other."""
    clock, lock = elsewhere
    with pytest.raises(HeldError):
        take_lock(store, "turns/a")
    clock[0] += leases.DEAD_SECONDS
    write = Store.write

    def late(self, name, content):
        if name.endswith(".dead"):
            monkeypatch.setattr(Store, "write", write)
            lock.check()
        return write(self, name, content)

    monkeypatch.setattr(Store, "write", late)
    with pytest.raises(HeldError):
        take_lock(store, "turns/a")
    lock.check()


@pytest.mark.parametrize("store", ["memory", S3], indirect=True)
def test_an_unreadable_holder_record_does_not_free_the_lock(store, elsewhere):
    owner = elsewhere[1].owner
    for text in ("", "null", "[]", '{"beat":', json.dumps({"pid": "1", "beat": None})):
        store.write(f"{leases.OWNERS}/{owner.token}.json", text)
        with pytest.raises(HeldError):
            take_lock(store, "turns/a")


async def test_a_task_cancelled_while_taking_a_lease_leaves_none(monkeypatch):
    store, begun, ended = Store(f"memory://cancelled-{time.monotonic_ns()}"), asyncio.Event(), asyncio.Event()
    loop, taking = asyncio.get_running_loop(), locks.take_lease

    def slow(*words):
        loop.call_soon_threadsafe(begun.set)
        time.sleep(0.2)
        lease = taking(*words)
        loop.call_soon_threadsafe(ended.set)
        return lease

    async def work():
        async with owning(store, "turns/a"):
            pass

    monkeypatch.setattr(locks, "take_lease", slow)
    task = asyncio.create_task(work())
    await begun.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await ended.wait()
    await asyncio.sleep(0.1)
    monkeypatch.setattr(locks, "take_lease", taking)
    with locked(store, "turns/a"):
        pass
