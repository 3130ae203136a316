"""A running job of Hugging Face Jobs. It is watched to its end and cancelled with its run; it has succeeded when its result exists."""

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

from huggingface_hub.errors import JobNotFoundError
from prefect.blocks.abstract import JobRun

from blocks.job_log import JobLog
from core.errors import HubError, JobError
from core.machine.deaths import SMALLER, explain, signal_name
from core.settings.jobs import Jobs
from core.training.job_spec import KEY_LABEL, JobResult, JobSpec, JobStatus, may_still_run

Report = Callable[[dict[str, Any]], None]

GONE = 3
"""Consecutive answers that the service does not know a job, after which the job counts as gone."""

CODE = re.compile(r"exit code:? *(-?\d+)", re.IGNORECASE)
"""Matches the exit code in the service's message about a failed job."""
MEMORY = re.compile(r"\boom|out of memory|OutOfMemory|memory limit|\bMemoryError|bad_alloc|cannot allocate memory", re.IGNORECASE)

AGAIN = "Run the same command again: a training resumes from its newest checkpoint."

LATE = 60.0
"""Seconds after which other jobs with the same key are searched for once more: a submission whose answer was lost may appear late."""

UNSTARTED = {
    126: "The image could not start its program: see that jobs.image has `uv` and that it may be executed.",
    127: "The image has no such program: see that jobs.image has `uv`.",
}
"""Advice by exit code, for containers in which the script did not start."""


class Service(Protocol):
    """What `HfJobRun` needs of the service that runs the job (blocks/hf_job.py has the implementation)."""

    namespace: str

    @property
    def logger(self) -> Any:
        """The logger for warnings."""
        ...

    def find_result(self, spec: JobSpec, place: Path) -> JobResult | None:
        """Return the finished result, or None."""
        ...

    def find_jobs(self, label: str, value: str) -> Sequence[JobStatus]:
        """Return all jobs whose label has a value."""
        ...

    def agreed(self, spec: JobSpec) -> JobStatus | None:
        """Return the job of a specification on which all processes agree, or None."""
        ...

    def look(self, job: str) -> JobStatus:
        """Return the current state of a job."""
        ...

    def lines(self, job: str) -> Iterable[str]:
        """Yield the lines that a job prints."""
        ...

    def cancel_or_say(self, job: JobStatus) -> bool:
        """Cancel a job; return whether it was cancelled."""
        ...


class HfJobRun(JobRun[JobResult]):
    """A job that was submitted, by this process or an earlier one."""

    def __init__(self, block: Service, spec: JobSpec, job: JobStatus, place: Path, found: bool) -> None:
        """Prepare to watch a job.

        Args:
            block: the service.
            spec: what the job makes.
            job: the job's state at the submission.
            place: path of the result; the log is written next to it.
            found: whether the job existed before.
        """
        self.job, self.found, self.namespace = job, found, block.namespace
        self._block, self._spec, self._place = block, spec, place
        self._log = JobLog(place.with_name(f"{place.name}.log"), lambda: block.lines(self.job.id))
        self._unknown, self._trouble = 0, ""
        self.uncancelled = False
        """Whether an attempt to cancel the job failed, so that it may still run."""

    async def wait_for_completion(self, watch: Jobs, report: Report, stopped: Callable[[], Awaitable[bool]]) -> None:  # ty: ignore[incompatible-method-override]
        """Watch the job to its end, and save its complete log. If the wait is cancelled, the job is cancelled too.

        Args:
            watch: settings such as the polling interval and the tolerated outage.
            report: called with each JSON line of the log, and with events `line`, `stage` and `silent`.
            stopped: returns whether the waiting run was cancelled elsewhere, without a signal to this process.

        Raises:
            JobError: the job waited too long for a machine, was cancelled with its run, or can no longer be watched and may still run.
        """
        self._log.follow()
        try:
            await self._until_ended(watch, report, stopped)
        except asyncio.CancelledError:
            await asyncio.shield(asyncio.to_thread(self._cancel))
            raise
        finally:
            await asyncio.to_thread(self._log.end, self.job.ended)
            self._pass_on(report)

    async def fetch_result(self) -> JobResult:
        """Return the result, if the repository has it with the sizes and checksums that it lists.

        Raises:
            JobError: there is no such result; the message says why, as far as it is known.
        """
        result = await asyncio.to_thread(self._block.find_result, self._spec, self._place)
        if result is None:
            raise JobError(self._why())
        await asyncio.to_thread(self._end_others)
        return result

    def _end_others(self) -> None:
        """Cancel other jobs that would make the same result, from submissions that were late or whose answer was lost."""
        try:
            for other in self._block.find_jobs(KEY_LABEL, self._spec.key):
                if not other.ended and other.id != self.job.id:
                    self._block.cancel_or_say(other)
        except HubError as error:
            self._block.logger.warning("It is not known whether another job makes the same result. %s", error)

    def _watch_late_job(self) -> None:
        """Watch another job instead, if one has appeared late and all processes agree on it."""
        try:
            valid = self._block.agreed(self._spec)
        except HubError as error:
            self._trouble = f" ({error})"
            return
        if valid and valid.id != self.job.id:
            self._block.logger.warning("The job %s was submitted earlier and appeared late: it is watched instead of %s.", valid.url, self.job.id)
            self._log.end(ended=False)
            self.job, self._log = valid, JobLog(self._log.path, lambda: self._block.lines(valid.id))
            self._log.follow()

    async def _until_ended(self, watch: Jobs, report: Report, stopped: Callable[[], Awaitable[bool]]) -> None:
        began = answered = time.monotonic()
        reported, checked = "", self.found
        while True:
            if not checked and time.monotonic() - began >= LATE:
                checked = True
                await asyncio.to_thread(self._watch_late_job)
            if status := await asyncio.to_thread(self._look):
                self.job, answered = status, time.monotonic()
            if self.job.stage != reported:
                reported = self.job.stage
                report({"event": "stage", "stage": reported, "message": self.job.message})
            self._pass_on(report)
            if self.job.ended or self._unknown >= GONE:
                return
            if await stopped():
                raise JobError(f"The run was cancelled. {await asyncio.to_thread(self._cancel)}")
            if time.monotonic() - answered > watch.outage_seconds:
                raise JobError(
                    f"There was no news of the job {self.job.url} for {watch.outage_seconds / 60:.0f} minutes{self._trouble}. It may still run. "
                    "Run the same command again: it resumes this job, which is not paid for twice."
                )
            if self.job.started is None and time.monotonic() - began > watch.queue_seconds:
                cancelled = await asyncio.to_thread(self._cancel)
                raise JobError(
                    f"The job {self.job.url} waited {watch.queue_seconds / 60:.0f} minutes for a machine ({self.job.flavor}). {cancelled} Choose another "
                    "flavor in the training settings, or raise jobs.queue_seconds."
                )
            if (silent := self._log.silent()) > watch.silent_seconds:
                self._log.heard()
                report({"event": "silent", "seconds": silent})
            await asyncio.sleep(watch.poll_seconds)

    def _pass_on(self, report: Report) -> None:
        for event in self._log.events():
            report(event)

    def _look(self) -> JobStatus | None:
        """Return the current state of the job; None if the service did not report it. Answers that the job does not exist are counted."""
        try:
            status = self._block.look(self.job.id)
        except JobNotFoundError:
            self._unknown += 1
            return None
        except HubError as error:
            self._trouble = f" ({error})"
            return None
        self._unknown = 0
        return status

    def _cancel(self) -> str:
        """Cancel the job; return a sentence that says whether this succeeded."""
        self.uncancelled = not self._block.cancel_or_say(self.job)
        if self.uncancelled:
            return may_still_run(self.job)
        return f"Its job {self.job.url} was cancelled."

    def _why(self) -> str:
        job, where = self.job, f"Its log is {self._log.path}, its page {self.job.url}."
        if self._log.trouble:
            where = f"Its log could not be read to the end ({self._log.trouble}): {self._log.path} has the part that was read, its page is {job.url}."
        nothing = f"{self._spec.repo} has no finished {self._spec.finished} at {self._spec.tag}"
        if self._unknown >= GONE or job.stage == "DELETED":
            return f"The job {job.id} has vanished: the service no longer knows it, and {nothing}. {where} {AGAIN}"
        if job.stage == "COMPLETED":
            return f"The job {job.id} says that it completed, but {nothing}. {where} Run the same command again."
        if "timeout" in job.message.lower():
            return f"The job {job.id} was stopped after {job.seconds() / 60:.0f} minutes, its limit. {where} {AGAIN} jobs.margin raises the limit."
        if job.stage == "CANCELED":
            return f"The job {job.id} was cancelled. {where} {AGAIN}"
        reason, code = self._log.reason(), CODE.search(job.message)
        memory = MEMORY.search(job.message) or MEMORY.search(reason)
        if code and signal_name(int(code[1])):
            short = f"The service says that memory was short: {SMALLER}." if MEMORY.search(job.message) else ""
            words = explain(f"The job {job.id} ({job.message.rstrip('.')})", int(code[1]), self._log.doing, verdict=short)
            last = f" Its last line was: {reason.rstrip('.')}." if reason else ""
            return f"{words}{last} {where}"
        detail = f": {reason.rstrip('.')}." if reason else f" {self._log.doing} and printed nothing."
        advice = UNSTARTED.get(int(code[1]), "") if code else ""
        advice = f"Memory was short: {SMALLER}." if memory and not advice else advice
        return " ".join(part for part in (f"The job {job.id} failed ({job.message or job.stage}){detail}", advice, where) if part)
