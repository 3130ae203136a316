"""Runs that say they run, and whose process is gone."""

from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.context import FlowRunContext
from prefect.logging import get_run_logger
from prefect.states import Crashed


async def end_dead_runs() -> None:
    """Mark other runs of this run's deployment that are still Running as Crashed, where the deployment allows one run at a time.

    A worker that is stopped, or killed, leaves its flow's run Running indefinitely; that this run could begin shows that nothing of the other one is alive.
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
        wanted = FlowRunFilter.model_validate({"deployment_id": {"any_": [mine.deployment_id]}, "state": {"type": {"any_": ["RUNNING"]}}})
        for run in await client.read_flow_runs(flow_run_filter=wanted):
            if run.id != mine.id:
                message = "Its process was gone when the next run began."
                await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
                get_run_logger().warning("The run %s was still marked as running, but its process is gone: it is marked as crashed.", run.name)
