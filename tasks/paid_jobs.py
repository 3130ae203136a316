"""Paid jobs: planned, approved, submitted once, watched, and their results fetched."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from prefect import Flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, State
from prefect.logging import get_logger, get_run_logger
from prefect.runtime.flow_run import get_root_flow_run_id

from blocks.jobs import load_jobs, service
from core.errors import HubError, UnderstudyError
from core.llm.run import Run
from core.reports.render import job_plan_markdown
from core.storage.file_facts import is_complete
from core.storage.store import open_store
from core.training.hardware import Flavor, flavors, load_hardware
from core.training.job_spec import KEY_LABEL, JobResult, JobSpec, JobStatus, first_alive
from core.training.plan import JobPlan
from tasks.approval import ask_a_person
from tasks.artifacts import publish_report
from tasks.job_events import JobEventLogger, link

if TYPE_CHECKING:
    from blocks.hf_job import HfJob
    from blocks.hf_job_run import HfJobRun

ATTACHED = "jobs/attached"
"""Folder, below the data root, of the jobs that runs wait for, so that another process can cancel the jobs of a cancelled run."""


async def agree(run: Run, spec: JobSpec, plan: Callable[[dict[str, Flavor], float], JobPlan]) -> None:
    """Before a job costs money: plan it, check the budget, publish the plan, and ask a person if the settings want it.

    Nothing is planned if jobs run here, or if the result or its job exists already.

    Args:
        run: the run; the plan is stored in it.
        spec: the job.
        plan: returns the plan from the machines on offer and the USD that the run's jobs have cost so far.

    Raises:
        SettingsError: the job fits no machine.
        BudgetError: the job does not fit the budget.
        JobError: a person declined, or nobody answered.
    """
    store = run.store
    if run.settings.jobs.where == "local" or is_complete(store, spec.folder, spec.finished, spec.fetch):
        return
    from blocks.job_bill import known_price, spent_on_jobs

    block, place = await service(run.settings), store.local(spec.folder)
    same = await asyncio.to_thread(block.find_jobs, KEY_LABEL, spec.key)
    if first_alive(same)[0] or await asyncio.to_thread(block.find_result, spec, place):
        return
    machines, logger = flavors(load_hardware(), await asyncio.to_thread(_offered, block)), get_run_logger()

    def price(job: JobStatus) -> float:
        return machines[job.flavor].usd_per_hour if job.flavor in machines else known_price(job)

    for job in same:
        logger.warning(
            "An earlier job for the same result ended without its result: %s, %s (%s) after %.0f minutes, %.2f USD. Another one is planned.",
            *(job.url, job.stage, job.message or "no reason given", job.seconds() / 60, job.usd(price(job))),
        )
    counted = await spent_on_jobs(run, block, price, spec)
    planned = plan(machines, counted.usd - counted.unseen)  # submit() counts interrupted submissions, whose jobs may still appear
    logger.info("%s.", planned.line)
    await publish_report(job_plan_markdown(planned), key=f"plan-{spec.stage}", description=planned.line)
    if run.settings.jobs.approve == "ask":
        await ask_a_person(planned, run.settings.jobs.approve_seconds)
    run.plans[spec.key] = planned


async def make_elsewhere(run: Run, spec: JobSpec, script: Path) -> None:
    """Submit a job, or attach to a job that makes the same result; wait for it, and fetch the files that this machine needs.

    Raises:
        JobError: the job failed, or left no result.
        HubError: the job service or the Hub does not answer.
    """
    from blocks.hf_job_run import HfJobRun
    from blocks.job_bill import submit
    from blocks.job_results import fetch_result

    store = run.store
    block, place = await service(run.settings), store.local(spec.folder)
    # written before a job is submitted, so that cancel_jobs finds the job by its key if the run is cancelled meanwhile
    record = {"where": run.settings.jobs.where, "namespace": block.namespace, "key": spec.key}
    attached = store.write_json(f"{ATTACHED}/{get_root_flow_run_id()}/{spec.key}.json", record)
    started = None
    try:
        started = await submit(run, block, spec, script, place)
        result, paid = (started, {}) if isinstance(started, JobResult) else await _watched(started, spec, run)
    except BaseException as error:
        may_live = started.uncancelled if isinstance(started, HfJobRun) else isinstance(error, asyncio.CancelledError)
        if not may_live:  # otherwise the record is left for cancel_jobs
            store.remove(attached)
        raise
    store.remove(attached)
    await asyncio.to_thread(fetch_result, store, block, result, paid, spec, place)


async def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Cancel the jobs that a cancelled run waits for, in case the run's process could not; a hook of flows.

    A job that cannot be cancelled is logged as an error, and its record stays for the next call.
    """
    store = open_store()
    for name in store.names(f"{ATTACHED}/{flow_run.id}", ".json"):
        try:
            record = store.load_json(name)
            block = await load_jobs(record["where"], record["namespace"])
            alive = [job for job in await asyncio.to_thread(block.find_jobs, KEY_LABEL, record["key"]) if not job.ended]
            cancelled = [await asyncio.to_thread(block.cancel_or_say, job) for job in alive]
        except (UnderstudyError, ValueError, KeyError) as error:
            get_logger("jobs").error("A job of the cancelled run may still run and cost money; look at the page of your jobs and cancel it there. %s", error)
        else:
            if all(cancelled):
                store.remove(name)


def _offered(block: "HfJob") -> dict[str, tuple[float, float | None]]:
    """Return the service's prices of machines; empty if the service does not answer, so that those of config/hardware.yaml are used."""
    try:
        return block.offered()
    except HubError as error:
        block.logger.warning("The prices of config/hardware.yaml are used, because the service's own are not known. %s", error)
        return {}


async def _watched(started: "HfJobRun", spec: JobSpec, run: Run) -> tuple[JobResult, dict[str, Any]]:
    """Log a job's events until it ends; return its result, and machine, cost in USD and image for the record of the result."""
    from blocks.job_bill import settle

    logger = get_run_logger()
    how = "already submitted" if started.found else "submitted"
    logger.info("%s: job %s %s on %s: %s", spec.stage, started.job.id, how, started.job.flavor, started.job.url)
    await link(started.job.url, f"job-{spec.stage}", f"The job on {started.job.flavor}")
    events = JobEventLogger(spec.script, f"progress-{spec.stage}")
    try:
        await started.wait_for_completion(run.settings.jobs, events.log_event, _stopped(get_root_flow_run_id()))
    finally:
        await events.end()
        usd = settle(run, started.job)
    result = await started.fetch_result()
    logger.info("%s: done after %.0f minutes, %.2f USD; %s at %s.", spec.stage, started.job.seconds() / 60, usd, result.repo, result.commit[:12])
    return result, {"hardware": started.job.flavor, "usd": usd, "image": started.job.image}


def _stopped(root: str | None) -> Callable[[], Awaitable[bool]]:
    """Return a function that asks the server whether the run was cancelled in the UI, which a run started in a terminal does not learn otherwise.

    Args:
        root: id of the outermost flow run; None if there is none.
    """

    async def ask() -> bool:
        if root is None:
            return False
        try:
            async with get_client() as client:
                state = (await client.read_flow_run(UUID(root))).state
        except Exception:  # a server that does not answer for a moment cancels nothing
            return False
        return state is not None and (state.is_cancelled() or state.is_cancelling())

    return ask
