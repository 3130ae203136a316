"""Jobs that run as processes of this machine, each in its own group. They are kept in memory and end with the stub.

One liberty: `uv run [options] SCRIPT.py words` is run as this Python with SCRIPT.py and the words, as the environment of the tests has all that
the headers of job scripts name. Any other command is run as it is. What a volume would show at its mount path lies in a folder of the job, and
every word of the command and value of the environment that begins with the mount path begins with that folder instead.
"""

import asyncio
import os
import shlex
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from io import BufferedReader
from pathlib import Path
from secrets import token_hex

from core.processes import die_with_parent
from tests.hub_stub.store import Entry, Store
from tests.hub_stub.wire import Caller, Json, Refused, no_repo, revision

TICK_S = 0.02
"""Seconds between two checks of a process and its output."""
ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
FAULTS = ("lies", "vanishes", "stuck")
"""Faults of a job: it reports success without being run; it is unknown once it has started; it stays queued."""
ENVIRONMENT = {
    **{"HF_HUB_DISABLE_XET": "1", "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"},
    **{"OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"},
}
"""Default variables in the environment of a job."""


@dataclass(slots=True)
class Job:
    """A job and its state."""

    namespace: str
    caller: Caller
    endpoint: str
    flavor: Json
    spec: Json
    """The request, without secrets and labels."""
    secrets: dict[str, str] = field(repr=False)
    labels: dict[str, str]
    initiator: Json
    fault: str | None = None
    id: str = field(default_factory=lambda: token_hex(12))
    stage: str = "SCHEDULING"
    message: str | None = None
    created: datetime = field(default_factory=lambda: datetime.now(UTC))
    started: datetime | None = None
    finished: datetime | None = None
    lines: list[Json] = field(default_factory=list)
    """The log as it is sent, one event per line."""
    over: bool = False
    """All processes have ended and the log is complete. The stage of a cancelled job changes earlier."""
    task: "asyncio.Task[None] | None" = None

    def start(self) -> None:
        """Set its stage to running."""
        self.stage, self.started = "RUNNING", datetime.now(UTC)
        self.tell(f"===== Job started at {self.started:%Y-%m-%d %H:%M:%S} =====")

    def end(self, stage: str, message: str | None = None) -> None:
        """Set its final stage, unless it has one."""
        if self.stage not in ENDED:
            self.stage, self.message, self.finished = stage, message, datetime.now(UTC)

    def forget(self) -> None:
        """Delete it; its processes are killed at once."""
        self.end("DELETED")
        self.stage = "DELETED"

    def tell(self, line: str) -> None:
        """Add a line to the log. No two lines have the same time, since clients resume by it."""
        moment = datetime.now(UTC)
        if self.lines:
            moment = max(moment, datetime.fromisoformat(self.lines[-1]["timestamp"]) + timedelta(microseconds=1))
        self.lines.append({"data": line, "timestamp": f"{moment:%Y-%m-%dT%H:%M:%S.%fZ}"})

    def shown(self) -> Json:
        """Return it as the Hub shows it, with only the names of secrets."""
        until = self.finished or datetime.now(UTC)
        times = {"createdAt": self.created, "startedAt": self.started, "finishedAt": self.finished}
        durations = {
            "schedulingSecs": int((self.started - self.created).total_seconds()) if self.started else None,
            "runningSecs": int((until - self.started).total_seconds()) if self.started else None,
            "totalSecs": int((until - self.created).total_seconds()),
        }
        asked = {name: value for name, value in self.spec.items() if name != "timeoutSeconds"}
        owner = {"id": f"id-{self.namespace}", "name": self.namespace, "type": "user" if self.namespace == self.caller.name else "org"}
        return {
            **{"id": self.id, **{name: f"{moment.isoformat(timespec='milliseconds')[:-6]}Z" for name, moment in times.items() if moment}},
            **{**asked, "flavor": self.flavor["name"], "secrets": sorted(self.secrets), "labels": self.labels},
            **{"status": {"stage": self.stage, "message": self.message}, "durations": durations, "owner": owner, "initiator": self.initiator},
        }


class Jobs:
    """All jobs of all namespaces, oldest first, and the faults of the next ones."""

    def __init__(self, store: Store, scheduling_s: float, grace_s: float, python: str) -> None:
        self.store, self.scheduling_s, self.grace_s, self.python = store, scheduling_s, grace_s, python
        self.folder = store.folder.resolve() / "jobs"
        self.all: dict[str, Job] = {}
        self.faults: list[str] = []
        shutil.rmtree(self.folder, ignore_errors=True)  # of a stub that was killed

    def add(self, job: Job) -> None:
        """Add a job to the queue."""
        job.fault = self.faults.pop(0) if self.faults else None
        self.all[job.id] = job
        if job.fault == "lies":
            job.start()
            job.end("COMPLETED")
            job.over = True
        else:
            job.task = asyncio.create_task(self._live(job))

    async def clear(self) -> None:
        """Remove all jobs, and return when all their processes have ended."""
        jobs = list(self.all.values())
        self.all.clear()
        self.faults.clear()
        for job in jobs:
            job.forget()
        await asyncio.gather(*(job.task for job in jobs if job.task), return_exceptions=True)

    async def _live(self, job: Job) -> None:
        folder, begins = self.folder / job.id, time.monotonic() + self.scheduling_s
        try:
            while job.stage == "SCHEDULING" and (job.fault == "stuck" or time.monotonic() < begins):
                await asyncio.sleep(TICK_S)
            if job.stage == "SCHEDULING":
                await self._run(job, folder)
        finally:
            job.end("ERROR", "The stub failed; see what it printed.")
            job.over = True
            shutil.rmtree(folder, ignore_errors=True)

    async def _run(self, job: Job, folder: Path) -> None:
        for name in ("work", "home"):
            (folder / name).mkdir(parents=True)
        job.start()
        try:
            command, environment = self._prepare(job, folder)
            with (folder / "log").open("wb") as log:
                process = subprocess.Popen(
                    command,
                    cwd=folder / "work",
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=die_with_parent(),  # noqa: PLW1509  it only sets a flag
                )
        except Refused as refused:
            job.end("ERROR", f"A volume cannot be mounted: {refused.message}")
            return
        except OSError as error:
            job.tell(f"Cannot start {shlex.join(job.spec['command'])}: {error.strerror}")
            job.end("ERROR", "Job failed with exit code: 127")
            return
        if job.fault == "vanishes":
            del self.all[job.id]
            job.forget()
        with (folder / "log").open("rb") as log:
            await self._follow(job, process, log)

    def _prepare(self, job: Job, folder: Path) -> tuple[list[str], dict[str, str]]:
        """Return the command and the environment of a job, and copy the files of its volumes."""
        places = {volume["mountPath"].rstrip("/"): folder / f"volume-{number}" for number, volume in enumerate(job.spec["volumes"])}
        for volume, place in zip(job.spec["volumes"], places.values(), strict=True):
            for path, entry in volume_files(self.store, job.caller, volume).items():
                (place / path).parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(self.store.blob(entry.sha256), place / path)

        def moved(word: str) -> str:
            for mount in sorted(places, key=len, reverse=True):
                if word == mount or word.startswith(f"{mount}/"):
                    return f"{places[mount]}{word[len(mount) :]}"
            return word

        words = [moved(word) for word in (*job.spec["command"], *job.spec["arguments"])]
        script = next((number for number, word in enumerate(words) if word.endswith(".py")), None)
        own = {name: value for name, value in os.environ.items() if not name.startswith(("HF_", "PREFECT_"))}
        accelerator, gigabytes = job.flavor["accelerator"], job.flavor["ram"].split()[0]
        facts = {
            **{"JOB_ID": job.id, "ACCELERATOR": accelerator["model"] if accelerator else "none", "CPU_CORES": job.flavor["cpu"].split()[0]},
            **{"MEMORY": f"{gigabytes}Gi", "HF_ENDPOINT": job.endpoint, "HF_HOME": str(folder / "home")},
        }
        asked = {name: moved(value) for name, value in job.spec["environment"].items()}
        return [self.python, *words[script:]] if words[:2] == ["uv", "run"] and script else words, own | ENVIRONMENT | asked | job.secrets | facts

    async def _follow(self, job: Job, process: "subprocess.Popen[bytes]", log: BufferedReader) -> None:
        """Read a process's output until it ends; end it, and all that it started, when the job must end."""
        deadline, rest = time.monotonic() + job.spec["timeoutSeconds"], b""
        kill_at = None
        try:
            while True:
                ended = process.poll() is not None  # checked first, so that what is read afterwards is complete
                *lines, rest = (rest + log.read()).split(b"\n")
                for line in lines:
                    job.tell(line.decode(errors="replace").removesuffix("\r"))
                if ended:
                    break
                if job.stage == "RUNNING" and time.monotonic() > deadline:
                    job.end("ERROR", "Job timeout")
                if job.stage == "DELETED" or (kill_at and time.monotonic() > kill_at):
                    _send(process, signal.SIGKILL)
                elif job.stage != "RUNNING" and kill_at is None:
                    kill_at = time.monotonic() + self.grace_s
                    _send(process, signal.SIGTERM)
                await asyncio.sleep(TICK_S)
        finally:
            _send(process, signal.SIGKILL)  # a container ends with its first process
        if rest:
            job.tell(rest.decode(errors="replace"))
        code = process.returncode if process.returncode >= 0 else 128 - process.returncode
        job.end(*("COMPLETED", None) if code == 0 else ("ERROR", f"Job failed with exit code: {code}"))


def volume_files(store: Store, caller: Caller, volume: Json) -> dict[str, Entry]:
    """Return the files of a volume by their path in it.

    Args:
        caller: must be allowed to read the repository.
    """
    repo, inside = store.repos.get((volume["type"], volume["source"])), (volume.get("path") or "").strip("/")
    if repo is None or (repo.private and not caller.belongs_to(repo.namespace)):
        raise no_repo(caller)
    files = store.read(revision(repo, volume.get("revision") or "main")).files
    found = {path.removeprefix(f"{inside}/"): entry for path, entry in files.items() if not inside or path.startswith(f"{inside}/")}
    if inside and not found:
        raise Refused(404, f"{volume['source']} has no folder {inside}", "EntryNotFound")
    return found


def _send(process: "subprocess.Popen[bytes]", number: signal.Signals) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, number)
