"""A job is submitted only where it fits the run's budget beside all others of the run, by whatever process they were submitted."""

import asyncio
import secrets
import time
from collections.abc import Callable
from pathlib import Path

from huggingface_hub.errors import HfHubHTTPError

from blocks.hf_job import HfJob
from blocks.hf_job_run import HfJobRun
from core.errors import BudgetError, HubError
from core.llm.run import Run
from core.storage.locks import owning
from core.storage.store import Store
from core.training.bill import ARRIVAL_SECONDS, Spending, Submission, job_labels, spending
from core.training.hardware import load_hardware
from core.training.job_spec import KEY_LABEL, PRICE_LABEL, RUN_LABEL, SUBMISSION_LABEL, JobResources, JobResult, JobSpec, JobStatus, first_alive
from core.training.plan import JobPlan

SUBMISSIONS = "jobs/submissions"
"""Below the data root: what a run has submitted, a file each, in a folder of the run."""

WAIT_SECONDS = 3600.0
"""For which another process of the run may submit its job."""

AGAIN = (408, 409, 412, 429)
"""Statuses of a refusal that say nothing of an attempt before it."""


async def spent_on_jobs(run: Run, block: HfJob, price: Callable[[JobStatus], float], spec: JobSpec) -> Spending:
    """Return what the jobs of a run have cost and may yet cost, but for the one that makes an spec.

    Args:
        price: USD an hour of a job that does not say it.

    Raises:
        BudgetError: what a job may cost is not known.
        HubError: the service does not answer.
    """
    jobs, store = await asyncio.to_thread(block.find_jobs, RUN_LABEL, run.name), run.store
    folder = f"{SUBMISSIONS}/{run.name}"
    found = {Path(name).stem: store.load(name, Submission) for name in store.names(folder, ".json")}
    return spending(jobs, found, price, time.time(), spec.key)


def known_price(job: JobStatus) -> float:
    """Return what config/hardware.yaml says of a job's machine, in USD an hour.

    Raises:
        BudgetError: it does not know the machine.
    """
    if (flavor := load_hardware().flavors.get(job.flavor)) is None:
        raise BudgetError(
            f"The run's job {job.url} is on {job.flavor or 'an unnamed machine'}, whose price is not known, so jobs.usd cannot be kept. Add the machine to "
            "flavors in config/hardware.yaml and run the same command again."
        )
    return flavor.usd_per_hour


async def submit(run: Run, block: HfJob, spec: JobSpec, script: Path, place: Path) -> HfJobRun | JobResult:
    """Return what makes an spec, and submit its job if there is none; the most that it can cost is set aside before.

    Raises:
        BudgetError: it no longer fits jobs.usd.
        HeldError: another process of the run submits for an hour.
        HubError, JobError: as `HfJob.trigger`.
    """
    store, plan = run.store, run.plans.get(spec.key)
    async with owning(store, f"{SUBMISSIONS}/{run.name}", WAIT_SECONDS):
        there = plan is None or first_alive(await asyncio.to_thread(block.find_jobs, KEY_LABEL, spec.key))[0]
        if plan is None or there or await asyncio.to_thread(block.find_made, spec, place):
            return await block.trigger(spec, None, script, place)
        name = await _set_aside(run, block, spec, plan, store)
        flavor, labels = plan.chosen.flavor, job_labels(Path(name).stem, plan.timeout_seconds, plan.chosen.flavor.usd_per_hour)
        purchase = JobResources(run=run.name, flavor=flavor.name, timeout_seconds=plan.timeout_seconds, image=run.settings.jobs.image, labels=labels)
        try:
            started = await block.trigger(spec, purchase, script, place)
        except HubError as error:
            if _is_refusal(error.__cause__):
                store.remove(name)
            raise
        if isinstance(started, HfJobRun) and started.job.labels.get(SUBMISSION_LABEL) == Path(name).stem:
            store.write_json(name, store.load(name, Submission).model_copy(update={"taken": True}))
        return started


def settle(run: Run, job: JobStatus) -> float:
    """Return what a job has cost, in USD, and keep it for when the service no longer lists the job."""
    label, flavor = job.labels.get(PRICE_LABEL, ""), load_hardware().flavors.get(job.flavor)
    usd = round(job.usd(int(label) / 1e6 if label.isdecimal() else flavor.usd_per_hour if flavor else 0.0), 2)
    store, name = run.store, f"{SUBMISSIONS}/{run.name}/{job.labels.get(SUBMISSION_LABEL)}.json"
    if job.ended and store.exists(name):
        store.write_json(name, store.load(name, Submission).model_copy(update={"usd": usd}))
    return usd


async def _set_aside(run: Run, block: HfJob, spec: JobSpec, plan: JobPlan, store: Store) -> str:
    """Write down that a job is submitted, once it fits; where only submissions that may have arrived stand in its way, wait until that is known."""
    budget, warned = run.settings.jobs.usd, False
    while True:
        spent = await spent_on_jobs(run, block, known_price, spec)
        if spent.usd + plan.most_usd <= budget:
            break
        if spent.usd - spent.unseen + plan.most_usd > budget:
            raise BudgetError(
                f"Budget of the jobs: {plan.what} takes up to {plan.most_usd:.2f} USD, and {spent.usd:.2f} of {budget:.2f} USD are spent, or may be by jobs "
                "of this run that are under way. Wait until they end, or raise jobs.usd, and run the same command again."
            )
        if not warned:
            block.logger.warning(
                "A submission of this run was interrupted. Its job, of up to %.2f USD, may still appear: this run waits for up to %d minutes.",
                spent.unseen,
                ARRIVAL_SECONDS // 60,
            )
        warned = True
        await asyncio.sleep(run.settings.jobs.poll_seconds)
    name = f"{SUBMISSIONS}/{run.name}/{secrets.token_hex(8)}.json"
    return store.write_json(name, Submission(most=plan.most_usd, until=time.time() + ARRIVAL_SECONDS))


def _is_refusal(error: BaseException | None) -> bool:
    return isinstance(error, HfHubHTTPError) and 400 <= error.response.status_code < 500 and error.response.status_code not in AGAIN
