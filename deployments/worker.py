"""A worker that runs this project's flows and nothing else that a server may send.   PREFECT_API_URL=… python deployments/worker.py [name]

Prefect's own worker runs what a deployment names: any entrypoint, pull steps that are shell commands, a command or an environment among the job variables.
Anybody who may write to the server could thus run code here. This one compares them with prefect.yaml, and starts the flow by the name that it found there.
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
"""The one step that `prefect deploy` writes, which changes nothing here: a run begins in the project folder."""


def own_entrypoints() -> frozenset[str]:
    """Return the flows that prefect.yaml deploys."""
    deployments = yaml.safe_load((project_folder() / "prefect.yaml").read_text(encoding="utf-8"))["deployments"]
    return frozenset(deployment["entrypoint"] for deployment in deployments)


def check_own(deployment: Any, configuration: ProcessJobConfiguration) -> str:
    """Return the entrypoint of a deployment that is the project's own.

    Args:
        deployment: as the server has it.
        configuration: the job variables of work pool, deployment and run together.

    Raises:
        SettingsError: names what is not.
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
        found = f" ({value!s:.100})" if value else ""
        raise SettingsError(
            f"The deployment's {what}{found} is not this project's own, and nothing of it was run. understudy deploy rewrites the deployments of prefect.yaml; "
            "what a run needs in its environment is set where the worker is started."
        )
    return deployment.entrypoint


def _is_own_step(step: dict[str, Any]) -> bool:
    ((name, inputs),) = step.items() if len(step) == 1 else (("", {}),)
    return name == WORKING_DIRECTORY and set(inputs) <= {"directory"} and Path(str(inputs.get("directory", project_folder()))).resolve() == project_folder()


class OwnJob(ProcessJobConfiguration):
    """A run's settings, which are checked when all that the server says is put together and before anything of it is used."""

    _entrypoint: str = PrivateAttr(default="")

    def prepare_for_flow_run(self, flow_run: FlowRun, deployment: Any = None, *others: Any, **named: Any) -> None:
        """Check the deployment.

        Raises:
            SettingsError: it is not the project's own.
        """
        self._entrypoint = check_own(deployment, self)
        super().prepare_for_flow_run(flow_run, deployment, *others, **named)


with warnings.catch_warnings():  # in this process it takes the place of Prefect's own
    warnings.simplefilter("ignore")

    class OwnWorker(ProcessWorker):
        """Runs the project's own flows as processes."""

        job_configuration = OwnJob

        async def run(self, flow_run: FlowRun, configuration: OwnJob, task_status: anyio.abc.TaskStatus[int] | None = None) -> ProcessWorkerResult:  # ty: ignore[incompatible-method-override]
            """Run a flow by its entrypoint; the deployment is not asked again for what to run."""
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
    """Work until a signal comes; return the exit code."""
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
