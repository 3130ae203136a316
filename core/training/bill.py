"""What a run's jobs have cost and may yet cost: those that the service lists, and those whose submission it does not show.

A job counts with all the time that it is given until it has ended. So does a submission, from before it is sent, as long as it may have arrived.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.errors import BudgetError
from core.records import Record
from core.training.job_spec import KEY_LABEL, PRICE_LABEL, SECONDS_LABEL, SUBMISSION_LABEL, JobStatus

ARRIVAL_SECONDS = 600
"""After which a submission that the service does not show has not arrived; a submission with all its attempts takes less."""


class Submission(Record):
    """A job that is about to be submitted, or was.

    Args:
        most: USD, if it takes all the time that it is given.
        until: Unix time until which it may appear.
        taken: whether the service answered that it has it.
        usd: what it cost, once that is known.
    """

    most: float
    until: float
    taken: bool = False
    usd: float | None = None


@dataclass(frozen=True)
class Spending:
    """USD that are spent or may yet be; `unseen` of them on submissions that may or may not have arrived."""

    usd: float
    unseen: float


def greatest_usd(seconds: float, per_hour: float) -> float:
    """Return what a job costs that takes so long: each minute that was begun is paid."""
    return math.ceil(seconds / 60) * per_hour / 60


def job_labels(submission: str, seconds: int, per_hour: float) -> dict[str, str]:
    """Return the labels by which a job is counted from anywhere."""
    return {SUBMISSION_LABEL: submission, SECONDS_LABEL: str(seconds), PRICE_LABEL: str(math.ceil(per_hour * 1e6))}


def spending(jobs: Iterable[JobStatus], submissions: Mapping[str, Submission], price: Callable[[JobStatus], float], now: float, key: str = "") -> Spending:
    """Return what counts against a run's budget of jobs.

    Args:
        jobs: of the run, as the service lists them; submissions: of the run, by name.
        price: USD an hour of a job whose labels do not say it.
        now: Unix time.
        key: of an order; its job is left out while it is alive, for it is taken up and not paid for twice.

    Raises:
        BudgetError: what a job may cost is not known.
    """
    listed, usd, unseen = set[str](), 0.0, 0.0
    for job in jobs:
        listed.add(job.labels.get(SUBMISSION_LABEL, ""))
        if job.ended or job.labels.get(KEY_LABEL) != key:
            usd += _counted(job, price)
    for name, submission in submissions.items():
        if name in listed:
            continue
        if submission.usd is not None:
            usd += submission.usd
        elif submission.taken:  # the service has forgotten it
            usd += submission.most
        elif now < submission.until:
            unseen += submission.most
    return Spending(usd + unseen, unseen)


def _counted(job: JobStatus, price: Callable[[JobStatus], float]) -> float:
    labelled = job.labels.get(PRICE_LABEL, "")
    per_hour = int(labelled) / 1e6 if labelled.isdecimal() else price(job)
    if job.ended:
        return job.usd(per_hour)
    seconds = job.labels.get(SECONDS_LABEL, "")
    if not seconds.isdecimal():
        raise BudgetError(
            f"The run's job {job.url} is under way, and how long it may take is not known, so jobs.usd cannot be kept. Wait until it ends, or cancel it there, "
            "and run the same command again."
        )
    return max(job.usd(per_hour), greatest_usd(int(seconds), per_hour))
