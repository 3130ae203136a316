"""One run at a time makes a result; other runs that need the same result wait for it and use it."""

import asyncio
from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from contextvars import ContextVar

from prefect.logging import get_run_logger

from core.errors import HeldError
from core.storage.locks import Lock, owning
from core.storage.store import Store

LOCK: ContextVar[Lock | None] = ContextVar("lock", default=None)
"""The lock of the result that the current task makes."""

LOG_SECONDS = 60.0
"""Time between two log lines about results that another run is making."""
GATHER_SECONDS = 1.0
"""Time before the first such line, so that it counts all items held at the start."""


@asynccontextmanager
async def owned(store: Store, name: str, wait_seconds: float = 0.0) -> AsyncGenerator[Lock]:
    """Hold the lock of a result while the block makes it. The block must look in the store first: another run may have made the result meanwhile.

    Args:
        store: the data root.
        name: name of the result below the data root.
        wait_seconds: how long to wait for the lock.

    Raises:
        HeldError: another run still holds the lock after `wait_seconds`.
    """
    async with owning(store, name, wait_seconds) as lock:
        token = LOCK.set(lock)
        try:
            yield lock
        finally:
            LOCK.reset(token)


@asynccontextmanager
async def awaited(store: Store, name: str, what: str) -> AsyncGenerator[Lock]:
    """Hold the lock of a result as `owned` does, but wait for another run as long as it takes.

    Args:
        store: the data root.
        name: name of the result below the data root.
        what: what the result is called in the log, such as "The draft of a pack".
    """
    async with AsyncExitStack() as stack:
        lock, wait_seconds = None, 0.0
        while lock is None:
            try:
                lock = await stack.enter_async_context(owned(store, name, wait_seconds))
            except HeldError as held:
                get_run_logger().info("%s is being made by another run (%s); this one waits for it.", what, held.holder)
                wait_seconds = LOG_SECONDS
        yield lock


class Elsewhere:
    """Items of a batch that other runs are making, logged once a minute.

    Args:
        items: number of items in the batch.
    """

    def __init__(self, items: int) -> None:
        self._items, self._holders = items, dict[int, str]()
        self._logging: asyncio.Task[None] | None = None

    def add(self, number: int, error: HeldError) -> None:
        """Note an item that another run is making."""
        self._holders[number] = error.holder
        self._logging = self._logging or asyncio.create_task(self._log())

    def remove(self, number: int) -> None:
        """Note that an item exists, or that this run is making it."""
        self._holders.pop(number, None)

    def end(self) -> None:
        """Stop logging."""
        if self._logging:
            self._logging.cancel()

    async def _log(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        while True:
            if self._holders:
                holders = ", ".join(holder for holder, _ in Counter(self._holders.values()).most_common())
                get_run_logger().info("%d of %d are being made by another run (%s); this one uses its results.", len(self._holders), self._items, holders)
            await asyncio.sleep(LOG_SECONDS)
