"""A worker that runs only this project's flows, no matter what the server sends.   PREFECT_API_URL=… python deployments/worker.py [name]

Prefect's own worker runs whatever a deployment names: any entrypoint, pull steps that are shell commands, a command or an environment in the job variables.
Anyone with write access to the server could therefore run code here. This worker compares the deployment with prefect.yaml and starts the flow listed there.
"""

import asyncio
import os
import sys
import warnings
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from flows.terminal.server_access import use_kept_password

use_kept_password()

import anyio
import anyio.abc
import yaml
from prefect.client.schemas.objects import FlowRun
from prefect.flows import Flow, load_flow_from_entrypoint
from prefect.runner._flow_run_executor import FlowRunExecutionResult, FlowRunExecutorContext
from prefect.runner._starter_engine import EngineCommandStarter
from prefect.settings import PREFECT_API_URL
from prefect.utilities.processutils import setup_signal_handlers_worker
from prefect.workers.process import ProcessJobConfiguration, ProcessWorker, ProcessWorkerResult
from pydantic import PrivateAttr

from core.errors import SettingsError
from core.paths import project_folder
from core.terminal import show, show_error
from deployments.setup import NO_SERVER, POOL

WORKING_DIRECTORY = "prefect.deployments.steps.set_working_directory"
"""The only pull step that `prefect deploy` writes. It has no effect here, because a run starts in the project folder anyway."""


def own_entrypoints() -> frozenset[str]:
    """Return the entrypoints of the deployments in prefect.yaml."""
    deployments = yaml.safe_load((project_folder() / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    return frozenset(deployment["entrypoint"] for deployment in deployments)


def check_own(deployment: Any, configuration: ProcessJobConfiguration) -> str:
    """Return the entrypoint of a deployment after checking that it is the project's own.

    Args:
        deployment: as the server returns it.
        configuration: the merged job variables of the work pool, the deployment and the run.

    Raises:
        SettingsError: a part of the deployment differs from prefect.yaml; the message names it.
    """
    foreign = {}
    if deployment is None or deployment.entrypoint not in own_entrypoints():
        foreign["entrypoint"] = deployment and deployment.entrypoint
    elif any(not _is_own_step(step) for step in deployment.pull_steps or []):
        foreign["pull steps"] = deployment.pull_steps
    elif deployment.storage_document_id:
        foreign["storage"] = deployment.storage_document_id
    elif job := {name: value for name in ("command", "env", "working_dir") if (value := getattr(configuration, name))}:
        foreign = {f"job variable {name}": "" if name == "env" else value for name, value in job.items()}
    if foreign:
        what, value = next(iter(foreign.items()))
        shown = f" ({value!s:.100})" if value else ""
        raise SettingsError(
            f"The deployment's {what}{shown} is not this project's own, and nothing of it was run. understudy deploy rewrites the deployments of prefect.yaml; "
            "set the environment that a run needs where the worker is started."
        )
    return deployment.entrypoint


def _is_own_step(step: dict[str, Any]) -> bool:
    ((name, inputs),) = step.items() if len(step) == 1 else (("", {}),)
    return name == WORKING_DIRECTORY and set(inputs) <= {"directory"} and Path(str(inputs.get("directory", project_folder()))).resolve() == project_folder()


class OwnJob(ProcessJobConfiguration):
    """The configuration of a run. It is checked once the server's values are merged and before any of them is used."""

    _entrypoint: str = PrivateAttr(default="")

    def prepare_for_flow_run(self, flow_run: FlowRun, deployment: Any = None, *others: Any, **named: Any) -> None:
        """Check the deployment.

        Raises:
            SettingsError: the deployment is not the project's own.
        """
        self._entrypoint = check_own(deployment, self)
        super().prepare_for_flow_run(flow_run, deployment, *others, **named)


with warnings.catch_warnings():  # Prefect warns that the class replaces its own worker of the same type, as intended
    warnings.simplefilter("ignore")

    class OwnWorker(ProcessWorker):
        """Runs the project's own flows as processes."""

        job_configuration = OwnJob

        async def run(self, flow_run: FlowRun, configuration: OwnJob, task_status: anyio.abc.TaskStatus[int] | None = None) -> ProcessWorkerResult:  # ty: ignore[incompatible-method-override]
            """Run the flow of the checked entrypoint. What to run is not read from the deployment again."""
            done: list[FlowRunExecutionResult | None] = []
            handle = None
            async with FlowRunExecutorContext() as context:
                starter = EngineCommandStarter(
                    entrypoint=configuration._entrypoint,
                    cwd=project_folder(),
                    env=configuration.env,
                    stream_output=configuration.stream_output,
                    control_channel=context.control_channel,
                )

                async def resolve(_: FlowRun) -> Flow[Any, Any]:
                    return await asyncio.to_thread(load_flow_from_entrypoint, configuration._entrypoint)

                executor = context.create_executor(flow_run, starter, resolve_flow=resolve, propose_submitting=False)

                async def execute(*, task_status: anyio.abc.TaskStatus[Any] = anyio.TASK_STATUS_IGNORED) -> None:
                    done.append(await executor.submit(task_status=task_status))

                async with anyio.create_task_group() as group:
                    handle = await group.start(execute)
                    if task_status:
                        task_status.started(handle.pid)
            if handle is None or not done or done[0] is None or done[0].status_code is None:
                raise RuntimeError("The process of the flow run did not start.")
            return ProcessWorkerResult(status_code=done[0].status_code, identifier=str(handle.pid))


async def main(words: list[str]) -> int:
    """Work until a signal arrives; return the exit code."""
    if not PREFECT_API_URL.value():
        show_error(NO_SERVER)
        return 2
    setup_signal_handlers_worker(os.getpid(), "the worker", show)
    worker = OwnWorker(work_pool_name=POOL, name=words[0] if words else None)
    show(f"Worker {worker.name!r} started.")
    await worker.start(printer=show)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(asyncio.run(main(sys.argv[1:])))
    except KeyboardInterrupt:
        sys.exit(130)
