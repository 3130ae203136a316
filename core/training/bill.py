"""Sums up what the jobs of a run have cost and may still cost, including submissions that the service does not list.

Until a job ends, it counts with its full time limit. A submission counts in the same way from the moment before it is sent, as long as it may have arrived.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from core.errors import BudgetError
from core.records import Record
from core.training.job_spec import KEY_LABEL, PRICE_LABEL, SECONDS_LABEL, SUBMISSION_LABEL, JobStatus

ARRIVAL_SECONDS = 600
"""Seconds after which a submission that the service does not list has not arrived; a submission with all its attempts takes less."""


class Submission(Record):
    """A job that was submitted or is about to be.

    Args:
        most: USD that the job costs if it runs for its full time limit.
        until: Unix time until which the job may appear in the service's list.
        taken: whether the service confirmed the submission.
        usd: USD that the job cost; None until that is known.
    """

    most: float
    until: float
    taken: bool = False
    usd: float | None = None


@dataclass(frozen=True)
class Spending:
    """USD that are spent or may still be spent.

    Args:
        usd: the total.
        unseen: the part of the total for submissions that may or may not have arrived.
    """

    usd: float
    unseen: float


def greatest_usd(seconds: float, per_hour: float) -> float:
    """Return the USD that a job of this duration costs; a started minute is billed in full."""
    return math.ceil(seconds / 60) * per_hour / 60


def job_labels(submission: str, seconds: int, per_hour: float) -> dict[str, str]:
    """Return the labels from which any process can tell what the job may cost.

    Args:
        submission: name of the submission.
        seconds: time limit of the job.
        per_hour: USD per hour.
    """
    return {SUBMISSION_LABEL: submission, SECONDS_LABEL: str(seconds), PRICE_LABEL: str(math.ceil(per_hour * 1e6))}


def spending(jobs: Iterable[JobStatus], submissions: Mapping[str, Submission], price: Callable[[JobStatus], float], now: float, key: str = "") -> Spending:
    """Return what counts against the run's budget for jobs.

    Args:
        jobs: the run's jobs, as the service lists them.
        submissions: the run's submissions, by name.
        price: returns the USD per hour of a job whose labels do not state them.
        now: Unix time.
        key: key of a job specification. A running job with this key is left out, since it is resumed and not paid for twice.

    Raises:
        BudgetError: the largest cost of a job is not known.
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
        elif submission.taken:  # the service no longer lists it
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
            f"The run's job {job.url} is running, and its time limit is not known, so the budget jobs.usd cannot be enforced. Wait until it "
            "ends, or cancel it there, and run the same command again."
        )
    return max(job.usd(per_hour), greatest_usd(int(seconds), per_hour))
