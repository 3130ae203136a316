"""What a job script is asked to make, wherever it runs; what is known of a paid job; and which of several counts."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import Field

from core.records import Record
from core.settings.job_arguments import Argument

Stage = Literal["train", "pairs", "convert"]

KEY_LABEL, RUN_LABEL = "understudy-key", "understudy-run"
"""Labels of a job: what it makes, by which it is found again, and the run that pays for it."""

SUBMISSION_LABEL, SECONDS_LABEL, PRICE_LABEL = "understudy-submission", "understudy-seconds", "understudy-price"
"""Labels of a job by which it is counted: its submission, the seconds that it is given, and millionths of a USD an hour."""

ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
"""Stages after which a job does nothing more."""

COMPANIONS = {"convert_gguf.py": ["llama_library.py"], "reply_losses.py": ["llama_library.py"]}
"""Files beside a job script that it imports."""

HUB_FILE, JOB_FILE = "hub.json", "job.json"
"""In a result's folder: repository, commit and address; and the machine of its job and what that cost, where this process saw it end."""

MOUNT = "/job"
"""Where a paid job finds its script and the files that go along."""


class JobSpec(Record):
    """What a job script is to make, wherever it runs.

    Args:
        name: fingerprint of the script and all that it is given: the same order has the same name, and is made once.
        folder: below the data root, where the result lies in the end.
        finished: JSON file of the result that the script writes last.
        arguments: of the script, but for those that say where its inputs are.
        local, remote: where the inputs are, for a process here and for a job elsewhere; remote is empty where a job elsewhere could not reach them.
        files: arguments that are files, as the file's name and its text.
        repo: the result's repository; its tag is `tag`.
        companions: names of files beside the script that it imports; they go where it goes.
        fetch: names of the result's files, beside the finished one, that are wanted on this machine.
    """

    stage: Stage
    script: str
    name: str
    folder: str
    finished: str
    arguments: dict[str, Argument]
    local: dict[str, Argument]
    remote: dict[str, Argument]
    files: dict[str, tuple[str, str]] = Field(default_factory=dict)
    repo: str
    private: bool
    companions: list[str] = Field(default_factory=list)
    fetch: list[str]

    @property
    def key(self) -> str:
        """By which a job is found again: hexadecimal digits and a word, which labels may hold."""
        return f"{self.stage}-{self.name}"

    @property
    def tag(self) -> str:
        """Of the commit that holds the finished result."""
        return f"run-{self.name}"


class JobResources(Record):
    """What a job may use.

    Args:
        run: that pays for it.
        timeout_seconds: after which the service stops it.
        image: container in which `uv run` starts the script.
        labels: beside those by which it is found.
    """

    run: str
    flavor: str
    timeout_seconds: int
    image: str
    labels: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class JobStatus:
    """A job as the service tells of it.

    Args:
        stage: SCHEDULING, RUNNING or one of those in which it has ended.
    """

    id: str
    stage: str
    url: str
    flavor: str
    message: str = ""
    created: datetime | None = None
    started: datetime | None = None
    finished: datetime | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    image: str = ""

    @property
    def ended(self) -> bool:
        """Whether it does nothing more."""
        return self.stage in ENDED

    def seconds(self, now: datetime | None = None) -> float:
        """Return how long it has had its machine."""
        if self.started is None:
            return 0.0
        return max(0.0, ((self.finished or now or datetime.now(UTC)) - self.started).total_seconds())

    def usd(self, per_hour: float, now: datetime | None = None) -> float:
        """Return what it has cost: each minute that was begun is paid."""
        return math.ceil(self.seconds(now) / 60) * per_hour / 60


@dataclass(frozen=True)
class JobResult:
    """A finished result in a repository: the expected file is there at a commit, and what it lists has the checksums that it tells."""

    repo: str
    commit: str
    url: str
    facts: dict[str, Any]


def first_alive(jobs: Sequence[JobStatus]) -> tuple[JobStatus | None, list[JobStatus]]:
    """Return which of the jobs of one key counts, and the superfluous ones.

    All who look see the same: the oldest that has not ended, ties by id.
    """
    alive = sorted((job for job in jobs if not job.ended), key=lambda job: (job.created or datetime.max.replace(tzinfo=UTC), job.id))
    return (alive[0], alive[1:]) if alive else (None, [])


def may_still_run(job: JobStatus) -> str:
    """Return what to say of a job that could not be cancelled."""
    return f"The job {job.id} could not be cancelled: it may still run and cost. Cancel it at {job.url}."


def words(arguments: dict[str, Argument]) -> list[str]:
    """Return arguments as a command line has them."""
    found: list[str] = []
    for name, value in arguments.items():
        if isinstance(value, bool):
            found += [f"--{name}"] if value else []
        else:
            found += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    return found
