"""The budget of paid jobs. A job is submitted only if it fits the run's budget together with all other jobs of the run, including other processes' jobs."""

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
"""Folder below the data root with a subfolder for each run, which has a file for each of its submissions."""

WAIT_SECONDS = 3600.0
"""Maximum wait, in seconds, for another process of the run that is submitting a job."""

AGAIN = (408, 409, 412, 429)
"""Statuses of refusals after which an earlier attempt may still have succeeded."""


async def spent_on_jobs(run: Run, block: HfJob, price: Callable[[JobStatus], float], spec: JobSpec) -> Spending:
    """Return what the jobs of a run have cost and may still cost, except the running job of a specification.

    Args:
        price: returns the price, in USD an hour, of a job whose labels do not state it.
        spec: the specification whose running job is left out.

    Raises:
        BudgetError: the price of a job is not known.
        HubError: the service does not answer.
    """
    jobs, store = await asyncio.to_thread(block.find_jobs, RUN_LABEL, run.name), run.store
    folder = f"{SUBMISSIONS}/{run.name}"
    submissions = {Path(name).stem: store.load(name, Submission) for name in store.names(folder, ".json")}
    return spending(jobs, submissions, price, time.time(), spec.key)


def known_price(job: JobStatus) -> float:
    """Return the price of a job's machine from config/hardware.yaml, in USD an hour.

    Raises:
        BudgetError: the file does not list the machine.
    """
    if (flavor := load_hardware().flavors.get(job.flavor)) is None:
        raise BudgetError(
            f"The run's job {job.url} is on {job.flavor or 'an unnamed machine'}, whose price is not known, so the budget jobs.usd cannot be "
            "enforced. Add the machine to flavors in config/hardware.yaml and run the same command again."
        )
    return flavor.usd_per_hour


async def submit(run: Run, block: HfJob, spec: JobSpec, script: Path, place: Path) -> HfJobRun | JobResult:
    """Return the result or the job of a specification. If neither exists, reserve the job's maximum cost and submit it.

    Args:
        script: path of the job script.
        place: path of the result.

    Raises:
        BudgetError: the job does not fit jobs.usd.
        HeldError: another process of the run has been submitting a job for an hour.
        HubError, JobError: as `HfJob.trigger`.
    """
    store, plan = run.store, run.plans.get(spec.key)
    async with owning(store, f"{SUBMISSIONS}/{run.name}", WAIT_SECONDS):
        exists = plan is None or first_alive(await asyncio.to_thread(block.find_jobs, KEY_LABEL, spec.key))[0]
        if plan is None or exists or await asyncio.to_thread(block.find_result, spec, place):
            return await block.trigger(spec, None, script, place)
        name = await _reserve(run, block, spec, plan, store)
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
    """Return what a job has cost, in USD, and record it, because the service may later no longer list the job."""
    label, flavor = job.labels.get(PRICE_LABEL, ""), load_hardware().flavors.get(job.flavor)
    usd = round(job.usd(int(label) / 1e6 if label.isdecimal() else flavor.usd_per_hour if flavor else 0.0), 2)
    store, name = run.store, f"{SUBMISSIONS}/{run.name}/{job.labels.get(SUBMISSION_LABEL)}.json"
    if job.ended and store.exists(name):
        store.write_json(name, store.load(name, Submission).model_copy(update={"usd": usd}))
    return usd


async def _reserve(run: Run, block: HfJob, spec: JobSpec, plan: JobPlan, store: Store) -> str:
    """Record a submission once it fits the budget, and return the record's name. If only submissions of unknown outcome prevent that, wait for them."""
    budget, warned = run.settings.jobs.usd, False
    while True:
        spent = await spent_on_jobs(run, block, known_price, spec)
        if spent.usd + plan.most_usd <= budget:
            break
        if spent.usd - spent.unseen + plan.most_usd > budget:
            raise BudgetError(
                f"Budget of the jobs: {plan.what} takes up to {plan.most_usd:.2f} USD, and the jobs of this run have spent, or may still spend, "
                f"{spent.usd:.2f} of {budget:.2f} USD. Wait until they end, or raise jobs.usd, and run the same command again."
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
