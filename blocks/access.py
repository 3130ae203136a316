"""Whether all that a run will publish, read and rent is open to it: asked in one go, before anything is made or paid for."""

import asyncio
from collections.abc import Sequence

from prefect.logging import get_run_logger

from blocks.hub import load_hub
from core.errors import HubError, SettingsError, UnderstudyError, together
from core.records import Publication
from core.settings.jobs import Training
from core.settings.pipeline import Settings, load_training
from core.training.hardware import flavors, load_hardware

MAKES_DATASET = ("pipeline", "release", "improvement")
MAKES_MODELS = ("pipeline", "release", "improvement", "training", "export")
READS_BASE = ("pipeline", "release", "improvement", "training")
PUBLISHES_RESULTS = "evaluation"


async def check_access(flow: str, domain: str, settings: Settings) -> None:
    """Check that the repositories can be written, the base can be read, and jobs can be rented, as far as a flow needs them.

    Raises:
        SettingsError, HubError: all that is wrong, in one report.
    """
    training, problems = load_training(settings.training), []
    named, license = settings.export.named, training.base.license
    parts = {"gguf"} if flow in (*MAKES_MODELS, PUBLISHES_RESULTS) else set()
    parts |= {"adapter"} if flow in READS_BASE else set()
    parts |= {"base-gguf"} if flow in MAKES_MODELS and flow != "training" and settings.jobs.where != "local" else set()
    parts |= {f"preferred-{part}" for part in parts & {"adapter", "gguf"}} if training.pairs is not None else set()
    models = [Publication(repo=named(domain, part), kind="model", private=settings.export.private, license=license) for part in sorted(parts)]
    data = settings.dataset.of(domain)
    datasets = [Publication(repo=data.repo, kind="dataset", private=data.private, license=data.license)] if flow in MAKES_DATASET else []
    if settings.dataset.hub == settings.export.hub:
        datasets, models = [], datasets + models
    for hub, wanted in ((settings.dataset.hub, datasets), (settings.export.hub, models)):
        problems += await _problems(hub, wanted) if wanted else []
    if flow in READS_BASE and training.base.kind == "hub":
        problems += await _problems_of_base(settings, training)
    if flow in MAKES_MODELS and settings.jobs.where != "local":
        problems += await _problems_of_jobs(settings, training, [one for one in models if one.kind == "model"])
    if problems:
        raise together(problems)


async def check_publications(hub: str, wanted: Sequence[Publication]) -> None:
    """Check that repositories can be written.

    Raises:
        SettingsError, HubError: all that is wrong, in one report.
    """
    if found := await _problems(hub, wanted):
        raise together(found)


async def _problems(hub: str, wanted: Sequence[Publication]) -> list[UnderstudyError]:
    found, notes = await asyncio.to_thread((await load_hub(hub)).problems, wanted)
    for note in notes:
        get_run_logger().warning("%s", note)
    return found


async def _problems_of_base(settings: Settings, training: Training) -> list[UnderstudyError]:
    from blocks.hf_hub import HfHub

    hub = await load_hub(settings.export.hub)
    try:
        await asyncio.to_thread((hub if isinstance(hub, HfHub) else HfHub()).read_access, training.base.model)
    except UnderstudyError as error:
        return [error]
    return []


async def _problems_of_jobs(settings: Settings, training: Training, pushed: Sequence[Publication]) -> list[UnderstudyError]:
    """Return what stands in the way of renting machines: the account, its scripts' repository, the hub, the jobs' own token, the machines of the settings.

    Args:
        pushed: what the jobs publish.
    """
    from blocks.hf_job import FILES, JOB_TOKEN
    from blocks.jobs import load_jobs

    block = await load_jobs(settings.jobs.where, settings.jobs.namespace or settings.export.repo.partition("/")[0])
    hub, problems = await load_hub(settings.export.hub), list[UnderstudyError]()
    if hub.where() != block.hub.where():
        problems.append(SettingsError(f"Jobs push to {block.hub.where()}, and export.hub is {hub.where()}. Name the same hub in jobs.where and export.hub."))
    try:
        await asyncio.to_thread(lambda: block.hub.account().run_jobs(block.namespace))
    except UnderstudyError as error:
        return [*problems, error]
    scripts = Publication(repo=f"{block.namespace}/{FILES}", kind="dataset", private=True, license="unknown")
    problems += await asyncio.to_thread(lambda: block.hub.problems([scripts])[0])
    if block.job_hub() is not block.hub:
        refused = await asyncio.to_thread(lambda: block.job_hub().problems(pushed)[0])
        problems += [HubError(f"{JOB_TOKEN}, the token for jobs: {error}") for error in refused]
    try:
        offered = await asyncio.to_thread(block.offered)
    except HubError:
        offered = {}  # the file's prices and machines stand in
    machines = flavors(load_hardware(), offered)
    for setting, name in (("flavors.train", training.flavors.train), ("flavors.convert", training.flavors.convert)) if training.flavors else ():
        if name not in machines:
            known = "The service offers" if offered else "config/hardware.yaml has"
            problems.append(SettingsError(f"{setting} of the training settings {settings.training!r} is {name!r}. {known}: {', '.join(machines)}."))
    return problems
