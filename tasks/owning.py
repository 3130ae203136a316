"""One run makes a thing; others that want the same wait for it and take what it made."""

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
"""That of what is being made."""

TELL_SECONDS = 60.0
"""Between two lines of the log that say what another run makes."""
GATHER_SECONDS = 1.0
"""Before the first of them, so that it counts all."""


@asynccontextmanager
async def owned(store: Store, name: str, wait_seconds: float = 0.0) -> AsyncGenerator[Lock]:
    """Hold the lock of what is made in the block; what another run has made meanwhile, the block finds in the store.

    Args:
        name: of what is made, below the data root.

    Raises:
        HeldError: another run makes it, after `wait_seconds` still.
    """
    async with owning(store, name, wait_seconds) as lock:
        token = LOCK.set(lock)
        try:
            yield lock
        finally:
            LOCK.reset(token)


@asynccontextmanager
async def awaited(store: Store, name: str, what: str) -> AsyncGenerator[Lock]:
    """Do as `owned` does, and wait for the other run as long as it takes.

    Args:
        what: is made, for the log.
    """
    async with AsyncExitStack() as stack:
        lock, wait_seconds = None, 0.0
        while lock is None:
            try:
                lock = await stack.enter_async_context(owned(store, name, wait_seconds))
            except HeldError as held:
                get_run_logger().info("%s is being made by another run (%s); this one waits for it.", what, held.holder)
                wait_seconds = TELL_SECONDS
        yield lock


class Elsewhere:
    """Items of a batch that other runs are making, logged once a minute.

    Args:
        items: of the batch.
    """

    def __init__(self, items: int) -> None:
        self._items, self._holders = items, dict[int, str]()
        self._teller: asyncio.Task[None] | None = None

    def add(self, number: int, error: HeldError) -> None:
        """Note an item that another run makes."""
        self._holders[number] = error.holder
        self._teller = self._teller or asyncio.create_task(self._tell())

    def remove(self, number: int) -> None:
        """Note that an item is made, or that this run makes it."""
        self._holders.pop(number, None)

    def end(self) -> None:
        """Say nothing more."""
        if self._teller:
            self._teller.cancel()

    async def _tell(self) -> None:
        await asyncio.sleep(GATHER_SECONDS)
        while True:
            if self._holders:
                holders = ", ".join(holder for holder, _ in Counter(self._holders.values()).most_common())
                get_run_logger().info("%d of %d are being made by another run (%s); this one uses its results.", len(self._holders), self._items, holders)
            await asyncio.sleep(TELL_SECONDS)
