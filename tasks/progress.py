"""Reporting the progress of a batch: log lines at intervals, a progress artifact, and the line on the terminal."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from prefect.logging import get_run_logger

from core.llm.run import Run
from core.reports.progress import Progress
from core.terminal import moving_line
from tasks.artifacts import begin_progress, move_progress

STEP_SECONDS = 0.5
"""Time between two updates of the line on the terminal."""


@asynccontextmanager
async def report_progress(run: Run, progress: Progress, key: str) -> AsyncGenerator[None]:
    """Report the progress of a batch while the block runs, and at its end.

    Args:
        run: the run.
        progress: the counts, which the block updates.
        key: key of the artifact.
    """
    artifact = await begin_progress(key, "Started.")

    async def report() -> None:
        every, line = run.settings.generation.progress_seconds, moving_line()
        while True:
            for _ in range(max(1, round(every / STEP_SECONDS))):
                line.move("Rehearsing", progress.said, progress.exchanges, "exchanges")
                await asyncio.sleep(min(every, STEP_SECONDS))
            text = progress.line(run.ledger.bill)
            get_run_logger().info("So far: %s.", text)
            await move_progress(artifact, progress.percent, text)

    reporter = asyncio.create_task(report())
    try:
        yield
    finally:
        reporter.cancel()
        moving_line().move("Rehearsing", progress.exchanges, progress.exchanges, "exchanges")
        await move_progress(artifact, progress.percent, progress.line(run.ledger.bill))
