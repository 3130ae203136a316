"""Making a job's result once, by a process on this machine or a paid job. The result appears complete under its name, or not at all."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from prefect.logging import get_run_logger

from blocks.hub import load_hub
from blocks.llama_runtime import library_words
from blocks.local_job import LocalJob
from core.errors import JobError
from core.fingerprint import fingerprint
from core.llm.run import Run
from core.machine.deaths import LLAMA_PROBE
from core.paths import SHIPPED
from core.settings.job_arguments import Argument
from core.storage.file_facts import is_complete
from core.storage.leftovers import continued, take
from core.storage.store import Store
from core.training.finished import FinishedJob, find_finished_job
from core.training.job_spec import COMPANIONS, JobSpec, words
from tasks.job_events import JobEventLogger
from tasks.owning import awaited
from tasks.paid_jobs import make_elsewhere

SCRIPTS = SHIPPED / "deployments" / "jobs" / "built"

LLAMA_SCRIPTS = ("convert_gguf.py", "reply_losses.py")
"""Scripts that load llama.cpp, which can crash the process."""

ONLINE = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}
"""Environment of a local job that reads from the Hub; other local jobs run offline."""


def script_hash(script: str) -> str:
    """Return the hash of a script and the files that it imports; outputs of a changed script are made again."""
    return fingerprint([(SCRIPTS / name).read_text(encoding="utf-8") for name in (script, *COMPANIONS.get(script, []))])


async def make(run: Run, spec: JobSpec) -> FinishedJob:
    """Make a job's result where the settings say: on this machine or by a paid job.

    Raises:
        JobError: the job failed, or succeeded without its result.
        HubError: the job service or the Hub does not answer.
    """
    if run.settings.jobs.where != "local":
        await make_elsewhere(run, spec, SCRIPTS / spec.script)
    else:
        await make_here(run, spec)
    finished = find_finished_job(run.store, spec)
    assert finished, spec.folder
    return finished


async def run_script(
    store: Store, script: str, output: str, finished: str, arguments: Mapping[str, Argument], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a job script as a process on this machine, unless its output exists. If another run is making the same output, wait for it.

    Args:
        store: the data root.
        script: file name below `deployments/jobs/built`.
        output: path of the output folder below the data root.
        finished: JSON file in that folder, which the script writes last.
        arguments: arguments, passed as `--name value`.
        environment: variables in addition to those of local jobs.

    Returns:
        The content of the file `finished`.

    Raises:
        JobError: the script failed, or succeeded without writing `finished`.
    """
    folder = store.local(output)
    async with awaited(store, output, Path(script).stem):
        if not is_complete(store, output, finished):
            part = continued(folder)
            log = folder.with_name(f"{folder.name}.log")
            get_run_logger().info("%s runs; its log is %s", Path(script).stem, log)
            events = JobEventLogger(script, f"job-{folder.name}")
            job = LocalJob(
                script=SCRIPTS / script,
                arguments=words({**arguments, "output": str(part)}),
                environment=dict(environment or {}),
                log=log,
                probe=[*LLAMA_PROBE, *library_words()] if script in LLAMA_SCRIPTS else [],
            )
            try:
                await (await job.trigger(events.log_event)).wait_for_completion()
            finally:
                await events.end()
            if not (part / finished).is_file():
                raise JobError(f"The job {script} succeeded but left no {finished} in {part}. Look at {folder.name}.log beside it and run again.")
            take(part, folder)
            store.made(output)
    return store.load_json(f"{output}/{finished}")


async def make_here(run: Run, spec: JobSpec) -> dict[str, Any]:
    """Make a job's result by a process on this machine, unless it exists; return the content of the file that the script writes last."""
    store = run.store
    files = {argument: str(store.local(store.write(f"{spec.folder}.{name}", text))) for argument, (name, text) in spec.files.items()}
    online = {"base-revision", "adapter-revision"} & spec.local.keys()
    hub = await load_hub(run.settings.export.hub) if online else None
    environment = {**ONLINE, **hub.environment()} if hub else {}
    return await run_script(store, spec.script, spec.folder, spec.finished, {**spec.arguments, **spec.local, **files}, environment)
