"""A job's events in the log and the Prefect UI: a log line for each important event, a progress artifact, and links."""

import asyncio
import re
from collections.abc import Awaitable
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.logging import get_run_logger

from core.terminal import moving_line
from tasks.artifacts import begin_progress, move_progress, publish_link

STEPS = 5
"""Number of progress lines that a job logs; the artifact is updated at each step."""

MAX_LINES = 200
"""Maximum number of lines of a job's output that the run's log repeats, not counting events; the job's log file has all."""

STAGES = {
    "SCHEDULING": "waits for its machine",
    "RUNNING": "runs",
    "COMPLETED": "has ended",
    "ERROR": "failed",
    "CANCELED": "was cancelled",
    "DELETED": "was deleted",
}
"""What the log says of each stage of a job on Hugging Face."""


class JobEventLogger:
    """Logs a job's events in their order.

    Args:
        script: file name of the job script; log lines begin with it.
        key: key of the progress artifact.
    """

    def __init__(self, script: str, key: str) -> None:
        # Prefect's keys hold lowercase letters, digits and dashes
        self._name, self._key = Path(script).stem, re.sub(r"[^a-z0-9]+", "-", key.lower()).strip("-")
        self._logger, self._logged, self._lines = get_run_logger(), 0.0, 0
        self._artifact: UUID | None = None
        self._newest: tuple[float, str] | None = None
        self._updating: asyncio.Task[None] | None = None

    def log_event(self, event: dict[str, Any]) -> None:
        """Log one event."""
        match event.get("event"):
            case "stage":
                detail = f" ({event['message']})" if event.get("message") else ""
                self._say(f"the job {STAGES.get(event['stage'], event['stage'].lower())}{detail}")
            case "silent":
                self._logger.warning("%s: no news of the job for %.0f minutes; the service still reports it as running.", self._name, event["seconds"] / 60)
            case "progress" if isinstance(event.get("step"), int) and event.get("of"):
                self._progress(event)
            case "progress":
                self._say(str(event.get("step")))
            case "line" if self._lines < MAX_LINES:
                self._lines += 1
                self._logger.info("%s | %s", self._name, event["text"])
            case "truncation":
                self._say(_cut(event))
            case "pairs":
                counts = ((split, event.get(split) or {}) for split in ("train", "validation"))
                self._say("; ".join(f"{split}: {of.get('pairs')} pairs, {of.get('too_long')} too long and left out" for split, of in counts))
            case "validation":
                self._say(f"validation loss {event.get('loss')} after step {event.get('step')}")
            case "resumed":
                self._say(f"resumes from its checkpoint at step {event.get('step')}")
            case "ladder":
                self._say(str(event.get("text")))
            case "fallback" | "warning":
                self._logger.warning("%s: %s", self._name, event.get("text") or event)

    async def end(self) -> None:
        """Update the artifact for the last time."""
        if self._updating:
            await asyncio.gather(self._updating, return_exceptions=True)
        await self._update()

    def _say(self, what: str) -> None:
        self._logger.info("%s: %s.", self._name, what.rstrip("."))

    def _progress(self, event: dict[str, Any]) -> None:
        done = event["step"] / event["of"]
        loss = f", loss {event['loss']:.2f}" if isinstance(event.get("loss"), float) else ""
        left = event.get("seconds_left") or 0
        line = f"step {event['step']} of {event['of']}{loss}{f', about {_minutes(left)} left' if left >= 1 else ''}"
        moving_line().move(self._name, event["step"], event["of"], "steps")
        if done - self._logged >= 1 / STEPS or done < self._logged:
            self._logged = done
            self._say(line)
        self._newest = (100 * done, line)
        if self._updating is None or self._updating.done():
            self._updating = asyncio.ensure_future(self._update())

    async def _update(self) -> None:
        newest, self._newest = self._newest, None
        if newest is None:
            return
        if self._artifact is None:
            self._artifact = await _quietly(begin_progress(self._key, newest[1], newest[0]))
        else:
            await _quietly(move_progress(self._artifact, newest[0], newest[1]))
        await asyncio.sleep(1)  # one update a second is enough: a tiny model makes many steps in it


async def link(url: str, key: str, what: str) -> None:
    """Publish a link in the Prefect UI."""
    await _quietly(publish_link(url, key, what, what))


async def _quietly(publishing: Awaitable[Any]) -> Any:
    """Publish an artifact; a failure is logged and does not end the job, which does not need it."""
    try:
        return await publishing
    except Exception as error:
        get_run_logger().warning("An artifact could not be published: %s", error)
        return None


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.0f} min" if seconds >= 120 else f"{seconds:.0f} s"


def _cut(event: dict[str, Any]) -> str:
    """Return a sentence on how many rows are longer than the training length."""
    splits = (("train", "training"), ("validation", "validation"))
    parts = [f"{event[split]['truncated']} of {event[split]['examples']} rows for {purpose}" for split, purpose in splits if split in event]
    return f"{' and '.join(parts)} are cut at {event['max_length']:,} tokens"
