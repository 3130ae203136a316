"""Telling how far a batch is: a line of the log and a progress artifact, both brought up to date as it goes."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.logging import get_run_logger

from core.reports.progress import Progress
from tasks.artifacts import begin_progress, move_progress
from tasks.run import Run


@asynccontextmanager
async def told(run: Run, progress: Progress, key: str) -> AsyncGenerator[None]:
    """Tell the progress of a batch while it is made, and at its end.

    Args:
        key: the artifact's.
    """
    artifact = await begin_progress(key, "Begun.")

    async def tell() -> None:
        while True:
            await asyncio.sleep(run.settings.generation.told_every_seconds)
            line = progress.line(run.ledger.bill)
            get_run_logger().info("So far: %s.", line)
            await move_progress(artifact, progress.percent, line)

    teller = asyncio.create_task(tell())
    try:
        yield
    finally:
        teller.cancel()
        await move_progress(artifact, progress.percent, progress.line(run.ledger.bill))
