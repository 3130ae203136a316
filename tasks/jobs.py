"""Having a result made once: by a process of this machine or a job elsewhere. The result appears whole, under its name, or not at all."""

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
from core.storage.file_facts import is_whole
from core.storage.leftovers import continued, take
from core.storage.store import Store
from core.training.finished import FinishedJob, made_before
from core.training.job_spec import COMPANIONS, JobSpec, words
from tasks.job_events import JobEventLogger
from tasks.owning import awaited
from tasks.paid_jobs import make_elsewhere

SCRIPTS = SHIPPED / "deployments" / "jobs" / "built"

LLAMA_SCRIPTS = ("convert_gguf.py", "reply_losses.py")
"""Scripts that llama.cpp may crash."""

ONLINE = {"HF_HUB_OFFLINE": "0", "HF_DATASETS_OFFLINE": "0"}


def script_hash(script: str) -> str:
    """Return the hash of a script and what it imports: a changed script makes its outputs again."""
    return fingerprint([(SCRIPTS / name).read_text(encoding="utf-8") for name in (script, *COMPANIONS.get(script, []))])


async def make(run: Run, spec: JobSpec) -> FinishedJob:
    """Have a job's result made.

    Raises:
        JobError: it failed, or ended well without its result.
        HubError: the service of jobs, or the Hub, does not answer.
    """
    if run.settings.jobs.where != "local":
        await make_elsewhere(run, spec, SCRIPTS / spec.script)
    else:
        await make_here(run, spec)
    finished = made_before(run.store, spec)
    assert finished, spec.folder
    return finished


async def run_script(
    store: Store, script: str, output: str, finished: str, arguments: Mapping[str, Argument], environment: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Run a job script as a process here, unless its output is there; another run that makes the same is waited for.

    Args:
        script: file name below `deployments/jobs/built`.
        output: name of the output folder below the data root.
        finished: JSON file in it that the script writes last.
        arguments: passed as `--name value`.
        environment: beside that of local jobs.

    Returns:
        What the script wrote into its last file.

    Raises:
        JobError: it failed, or ended well without its last file.
    """
    folder = store.local(output)
    async with awaited(store, output, Path(script).stem):
        if not is_whole(store, output, finished):
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
    """Have a job's result made by a process of this machine, unless its output is there; return what its script wrote last."""
    store = run.store
    files = {argument: str(store.local(store.write(f"{spec.folder}.{name}", text))) for argument, (name, text) in spec.files.items()}
    online = {"base-revision", "adapter-revision"} & spec.local.keys()
    hub = await load_hub(run.settings.export.hub) if online else None
    environment = {**ONLINE, **hub.environment()} if hub else {}
    return await run_script(store, spec.script, spec.folder, spec.finished, {**spec.arguments, **spec.local, **files}, environment)
