"""Jobs elsewhere: planned, agreed to, submitted once, watched, and their results fetched."""

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
from core.storage.file_facts import is_whole
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
"""Below the data root: which jobs a run waits for, so that its cancellation can reach them from another process."""


async def agree(run: Run, spec: JobSpec, plan: Callable[[dict[str, Flavor], float], JobPlan]) -> None:
    """Before a job costs money: plan it, check the budget, publish the plan, and ask a person if the settings want it.

    Nothing is asked where jobs run here, or where the result or its job is there already.

    Args:
        plan: from the machines that are offered and the USD that the run's jobs have cost.

    Raises:
        SettingsError, BudgetError: it does not fit the machine or the budget.
        JobError: a person declined, or nobody answered.
    """
    store = run.store
    if run.settings.jobs.where == "local" or is_whole(store, spec.folder, spec.finished, spec.fetch):
        return
    from blocks.job_bill import known_price, spent_on_jobs

    block, place = await service(run.settings), store.local(spec.folder)
    same = await asyncio.to_thread(block.find_jobs, KEY_LABEL, spec.key)
    if first_alive(same)[0] or await asyncio.to_thread(block.find_made, spec, place):
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
    planned = plan(machines, counted.usd - counted.unseen)  # what is unseen counts when the job is submitted
    logger.info("%s.", planned.line)
    await publish_report(job_plan_markdown(planned), key=f"plan-{spec.stage}", description=planned.line)
    if run.settings.jobs.approve == "ask":
        await ask_a_person(planned, run.settings.jobs.approve_seconds)
    run.plans[spec.key] = planned


async def make_elsewhere(run: Run, spec: JobSpec, script: Path) -> None:
    """Have a result made by a job, or take up the job that makes it, and fetch what is wanted here.

    Raises:
        JobError: the job failed, or left nothing.
        HubError: the service or the Hub does not answer.
    """
    from blocks.hf_job_run import HfJobRun
    from blocks.job_bill import submit
    from blocks.job_results import fetch_result

    store = run.store
    block, place = await service(run.settings), store.local(spec.folder)
    # before a job is submitted, so that a run that is cancelled meanwhile finds it by its key
    record = {"where": run.settings.jobs.where, "namespace": block.namespace, "key": spec.key}
    attached = store.write_json(f"{ATTACHED}/{get_root_flow_run_id()}/{spec.key}.json", record)
    started = None
    try:
        started = await submit(run, block, spec, script, place)
        result, paid = (started, {}) if isinstance(started, JobResult) else await _watched(started, spec, run)
    except BaseException as error:
        may_live = started.uncancelled if isinstance(started, HfJobRun) else isinstance(error, asyncio.CancelledError)
        if not may_live:  # else it is left for the hook
            store.remove(attached)
        raise
    store.remove(attached)
    await asyncio.to_thread(fetch_result, store, block, result, paid, spec, place)


async def cancel_jobs(flow: Flow[..., Any], flow_run: FlowRun, state: State) -> None:
    """Cancel the jobs that a cancelled run waits for, in case its own process could not; a hook of flows.

    What cannot be cancelled is said, and stays written down for the next call.
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
    """Return what machines cost; nothing where the service does not say it, so that the prices of config/hardware.yaml stand in."""
    try:
        return block.offered()
    except HubError as error:
        block.logger.warning("The prices of config/hardware.yaml are used, because the service's own are not known. %s", error)
        return {}


async def _watched(started: "HfJobRun", spec: JobSpec, run: Run) -> tuple[JobResult, dict[str, Any]]:
    from blocks.job_bill import settle

    logger = get_run_logger()
    how = "taken up" if started.found else "submitted"
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
    """Return what tells whether the run was cancelled in the UI: a run that was started in a terminal does not hear it otherwise."""

    async def ask() -> bool:
        if root is None:
            return False
        try:
            async with get_client() as client:
                state = (await client.read_flow_run(UUID(root))).state
        except Exception:  # a server that is away for a moment cancels nothing
            return False
        return state is not None and (state.is_cancelled() or state.is_cancelling())

    return ask
