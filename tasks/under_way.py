"""The record of what a run is doing, for the studio: written while a stage works, and removed when it ends."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager, suppress

from core.errors import StoreError
from core.llm.run import Run
from core.reports.under_way import clear_ended, new_record, write_under_way

SECONDS, SECONDS_ELSEWHERE = 2.0, 15.0
"""Time between two versions of the record: on this machine, and on an object store, where each version is a paid request."""


@asynccontextmanager
async def shown_under_way(run: Run, doing: str | None, counts: Callable[[], tuple[int, int, int]], how_far: Callable[[], str] | None) -> AsyncGenerator[None]:
    """Keep the record up to date while the block runs. A record that cannot be written does not disturb the run.

    Args:
        run: the run.
        doing: the verb that is shown with the counts; None keeps no record.
        counts: returns the number of items that are done, of all items, and of those left out.
        how_far: returns the progress in words; None if the counts suffice.
    """
    if doing is None:
        yield
        return
    store, name, began = run.store, new_record(run.name), time.time()

    def write() -> None:
        line = how_far() if how_far else ""
        write_under_way(store, name, run.pack.name, doing.rstrip(":"), counts(), line, run.ledger.bill, run.ledger.budget, began)

    async def keep() -> None:
        while True:
            with suppress(StoreError):
                write()
            await asyncio.sleep(SECONDS if store.is_local else SECONDS_ELSEWHERE)

    with suppress(StoreError):
        clear_ended(store, run.name)
    keeper = asyncio.create_task(keep())
    try:
        yield
    finally:
        keeper.cancel()
        with suppress(StoreError):
            store.remove(name)
