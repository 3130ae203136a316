"""Job scripts as processes of this machine, with the interface of remote GPU jobs."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from prefect.blocks.abstract import JobBlock, JobRun
from pydantic import Field, HttpUrl

import core.machine.tethered
from core.errors import JobError
from core.machine.deaths import CRASHES, explain, peak_of, probe, signal_name, step
from core.machine.memory import Memory, read_memory
from core.redaction import redact

Progress = Callable[[dict[str, Any]], None]

ENVIRONMENT = {
    "TOKENIZERS_PARALLELISM": "false",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "PYTHONUNBUFFERED": "1",
    "PYTHONWARNINGS": "ignore",
}


CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

THREADS = {
    "OMP_NUM_THREADS": str(CORES),
    "OMP_WAIT_POLICY": "PASSIVE",  # with threads that spin while they wait, a step took more than ten times as long on a busy machine
    "GOMP_SPINCOUNT": "10000",  # a short spin makes a step a sixth faster on an idle machine
}
"""Defaults for the job's environment; variables of this process take precedence."""


class LocalJobRun(JobRun[int]):
    """A started job process."""

    def __init__(self, process: asyncio.subprocess.Process, job: "LocalJob", report: Progress, before: Memory) -> None:
        """Prepare to follow a running process.

        Args:
            process: the process.
            job: the job that it runs.
            report: called with each JSON line that the script prints.
            before: memory before the start.
        """
        self._process, self._report, self._before = process, report, before
        self._name, self._log, self._probe = job.script.stem, job.log, job.probe
        self._last: deque[str] = deque(maxlen=30)
        self._doing, self._peak = "at its start", None

    async def wait_for_completion(self) -> None:  # ty: ignore[incompatible-method-override]  as in Prefect's own jobs
        """Wait until the process ends. If the wait is cancelled, the process and its children are stopped.

        Raises:
            JobError: the process ended with an exit code other than 0 or died of a signal, or its log cannot be written.
        """
        try:
            await self._follow()
            code = await self._process.wait()
        except OSError as error:
            self._stop()
            raise JobError(f"Cannot write {self._log}: {error.strerror}. Free some space and run again; the job {self._name} was stopped.") from error
        except BaseException:
            self._stop()
            raise
        if code != 0:
            raise JobError(f"{await self._why(code)} The full log is {self._log}.")

    async def fetch_result(self) -> int:
        """Return the exit code."""
        return await self._process.wait()

    def _stop(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGTERM)

    async def _follow(self) -> None:
        assert self._process.stdout is not None
        with self._log.open("w", encoding="utf-8") as log:
            while line := redact((await self._process.stdout.readline()).decode(errors="replace")):
                log.write(line)
                log.flush()
                self._last.append(line.strip())
                if (peak := peak_of(line)) is not None:
                    self._peak = peak
                elif line.startswith("{"):
                    with contextlib.suppress(json.JSONDecodeError):
                        self._take(json.loads(line))

    def _take(self, event: dict[str, Any]) -> None:
        if event.get("event") == "progress":
            self._doing = step(event) or self._doing
        self._report(event)

    async def _why(self, code: int) -> str:
        last_line = next((line for line in reversed(self._last) if line and not line.startswith("{")), "")
        full = " The disk is full: free some space and run again." if "No space left on device" in last_line else ""
        last = f" Its last line was: {last_line.rstrip('.')}." if last_line else ""
        if name := signal_name(code):
            verdict = await asyncio.to_thread(probe, self._probe) if name in CRASHES and self._probe else ""
            words = explain(f"The job {self._name}", code, self._doing, self._peak, self._before, verdict)
            return f"{words}{last}{full}"
        return f"The job {self._name} ended with exit code {code}{f': {last_line}' if last_line else f' {self._doing} and printed nothing.'}{full}"


class LocalJob(JobBlock[int]):
    """Runs a job script in this environment, with the arguments that a GPU job would get.

    Example:
        Run a saved job to its end:
        ```python
        from blocks.local_job import LocalJob

        job = LocalJob.load("BLOCK_NAME")
        run = await job.trigger()
        await run.wait_for_completion()
        ```
    """

    _block_type_name = "Understudy Local Job"
    _block_type_slug = "understudy-local-job"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    script: Path = Field(title="Script", description="Path of the job script.")
    arguments: list[str] = Field(default_factory=list, title="Arguments", description="Passed to the script unchanged.")
    environment: dict[str, str] = Field(default_factory=dict, title="Environment", description="Variables in addition to those of this process.")
    log: Path = Field(title="Log", description="File to which the script's output is written.")
    probe: list[str] = Field(
        default_factory=list,
        title="Probe",
        description="Command that is run once if the script crashes; exit code 0 means that llama.cpp works on this machine.",
    )

    async def trigger(self, report: Progress = lambda event: None) -> LocalJobRun:
        """Start the script in a separate process group, which ends with this process.

        Args:
            report: called with each JSON line that the script prints.
        """
        self.log.parent.mkdir(parents=True, exist_ok=True)
        before = read_memory()
        process = await asyncio.create_subprocess_exec(
            *[sys.executable, "-I", core.machine.tethered.__file__],
            *[sys.executable, str(self.script), *self.arguments],
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            env={**THREADS, **_environment_without_prefect(), **ENVIRONMENT, **self.environment},
            start_new_session=True,
            limit=2**20,
        )
        return LocalJobRun(process, self, report, before)


def _environment_without_prefect() -> Mapping[str, str]:
    """Return this process's variables without Prefect's, which the job does not need."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PREFECT_")}
