"""Runs that the server shows as running, although their process has ended."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Crashed


async def end_dead_runs() -> None:
    """Mark as Crashed all other runs of this run's deployment that are Running, if the deployment allows one run at a time.

    A worker that is stopped or killed leaves its flow run Running indefinitely. This run could only start because no process of the other run is alive.
    """
    context = FlowRunContext.get()
    mine = context.flow_run if context else None
    if mine is None or mine.deployment_id is None:
        return
    async with get_client() as client:
        deployment = await client.read_deployment(mine.deployment_id)
        limit = deployment.global_concurrency_limit.limit if deployment.global_concurrency_limit else None
        if limit != 1:
            return
        still_running = FlowRunFilter.model_validate({"deployment_id": {"any_": [mine.deployment_id]}, "state": {"type": {"any_": ["RUNNING"]}}})
        for run in await client.read_flow_runs(flow_run_filter=still_running):
            if run.id != mine.id:
                message = "Its process had ended when the next run began."
                await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
                get_run_logger().warning("The run %s was still marked as running, but its process has ended: it is marked as crashed.", run.name)
