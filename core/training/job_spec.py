"""The specification of a job, the state of a paid job, and the choice between several jobs for the same specification."""

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
"""Labels of a job: the key of its specification, by which it is found, and the run that pays for it."""

SUBMISSION_LABEL, SECONDS_LABEL, PRICE_LABEL = "understudy-submission", "understudy-seconds", "understudy-price"
"""Labels of a job for the budget: its submission, its time limit in seconds, and its price in millionths of a USD per hour."""

ENDED = ("COMPLETED", "CANCELED", "ERROR", "DELETED")
"""Stages of a job that has ended."""

COMPANIONS = {"convert_gguf.py": ["llama_library.py"], "reply_losses.py": ["llama_library.py"]}
"""Files that a job script imports from its own folder, by the script's name."""

HUB_FILE, JOB_FILE = "hub.json", "job.json"
"""Files in a result's folder: its repository, commit and address; and the job's machine and cost, if this process saw the job end."""

MOUNT = "/job"
"""Folder of the script and its files in the container of a paid job."""


class JobSpec(Record):
    """The specification of a job, independent of where the job runs.

    Args:
        name: fingerprint of the script and its inputs, so that the same specification has the same name and is carried out once.
        folder: folder of the result, below the data root.
        finished: JSON file of the result that the script writes last.
        arguments: arguments of the script, without those that locate its inputs.
        local: arguments that locate the inputs for a process on this machine.
        remote: arguments that locate the inputs for a paid job; empty if a paid job cannot reach them.
        files: arguments that are files, as the file's name and its text.
        repo: repository of the result, in which the commit has the tag `tag`.
        companions: names of the files that the script imports; they are sent with it.
        fetch: names of the result's files that this machine needs, in addition to `finished`.
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
        """The key by which a job is found: a word and hexadecimal digits, which are valid in a label."""
        return f"{self.stage}-{self.name}"

    @property
    def tag(self) -> str:
        """The tag of the commit with the finished result."""
        return f"run-{self.name}"


class JobResources(Record):
    """The resources of a paid job.

    Args:
        run: name of the run that pays for the job.
        flavor: name of the machine.
        timeout_seconds: seconds after which the service stops the job.
        image: container in which `uv run` starts the script.
        labels: labels in addition to the key and the run.
    """

    run: str
    flavor: str
    timeout_seconds: int
    image: str
    labels: dict[str, str] = Field(default_factory=dict)


@dataclass(frozen=True)
class JobStatus:
    """The state of a job, as the service reports it.

    Args:
        stage: SCHEDULING, RUNNING, or one of `ENDED`.
        message: the service's explanation of the stage.
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
        """Whether the job has ended."""
        return self.stage in ENDED

    def seconds(self, now: datetime | None = None) -> float:
        """Return the seconds for which the job has had its machine."""
        if self.started is None:
            return 0.0
        return max(0.0, ((self.finished or now or datetime.now(UTC)) - self.started).total_seconds())

    def usd(self, per_hour: float, now: datetime | None = None) -> float:
        """Return the USD that the job has cost; a started minute is billed in full."""
        return math.ceil(self.seconds(now) / 60) * per_hour / 60


@dataclass(frozen=True)
class JobResult:
    """A finished result in a repository: the commit has the expected file, and the files that it lists have the listed checksums."""

    repo: str
    commit: str
    url: str
    facts: dict[str, Any]


def first_alive(jobs: Sequence[JobStatus]) -> tuple[JobStatus | None, list[JobStatus]]:
    """Return the job to use of those with the same key, and the superfluous ones.

    It is the oldest job that has not ended, or of equally old ones the one with the lowest id, so that every process chooses the same job.
    """
    alive = sorted((job for job in jobs if not job.ended), key=lambda job: (job.created or datetime.max.replace(tzinfo=UTC), job.id))
    return (alive[0], alive[1:]) if alive else (None, [])


def may_still_run(job: JobStatus) -> str:
    """Return the message about a job that could not be cancelled."""
    return f"The job {job.id} could not be cancelled: it may still run and cost. Cancel it at {job.url}."


def words(arguments: dict[str, Argument]) -> list[str]:
    """Return arguments in the form of a command line."""
    line: list[str] = []
    for name, value in arguments.items():
        if isinstance(value, bool):
            line += [f"--{name}"] if value else []
        else:
            line += [f"--{name}", *(value if isinstance(value, list) else [str(value)])]
    return line
