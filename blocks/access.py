"""Check the access rights that a run needs, all at once and before anything is made or paid for: to publish, to read the base, to rent machines."""

import asyncio
from collections.abc import Sequence

from prefect.logging import get_run_logger

from blocks.hub import load_hub
from core.errors import HubError, SettingsError, UnderstudyError, together
from core.records import Publication
from core.settings.jobs import Training
from core.settings.pipeline import Settings, load_training
from core.training.hardware import flavors, load_hardware

_DATASET_FLOWS = ("pipeline", "release", "improvement")
_MODEL_FLOWS = ("pipeline", "release", "improvement", "training", "export")
_BASE_FLOWS = ("pipeline", "release", "improvement", "training")
_EVALUATION = "evaluation"


async def check_access(flow: str, domain: str, settings: Settings) -> None:
    """Check that the repositories can be written, the base model can be read and jobs can be started, as far as a flow needs this.

    Raises:
        SettingsError, HubError: a check failed. One error reports all problems.
    """
    training, problems = load_training(settings.training), []
    named, license = settings.export.named, training.base.license
    parts = {"gguf"} if flow in (*_MODEL_FLOWS, _EVALUATION) else set()
    parts |= {"adapter"} if flow in _BASE_FLOWS else set()
    parts |= {"base-gguf"} if flow in _MODEL_FLOWS and flow != "training" and settings.jobs.where != "local" else set()
    parts |= {f"preferred-{part}" for part in parts & {"adapter", "gguf"}} if training.pairs is not None else set()
    models = [Publication(repo=named(domain, part), kind="model", private=settings.export.private, license=license) for part in sorted(parts)]
    data = settings.dataset.of(domain)
    datasets = [Publication(repo=data.repo, kind="dataset", private=data.private, license=data.license)] if flow in _DATASET_FLOWS else []
    if settings.dataset.hub == settings.export.hub:
        datasets, models = [], datasets + models
    for hub, publications in ((settings.dataset.hub, datasets), (settings.export.hub, models)):
        problems += await _problems(hub, publications) if publications else []
    if flow in _BASE_FLOWS and training.base.kind == "hub":
        problems += await _problems_of_base(settings, training)
    if flow in _MODEL_FLOWS and settings.jobs.where != "local":
        problems += await _problems_of_jobs(settings, training, [publication for publication in models if publication.kind == "model"])
    if problems:
        raise together(problems)


async def check_publications(hub: str, publications: Sequence[Publication]) -> None:
    """Check that the repositories of publications can be written.

    Args:
        hub: `local`, `hf` or the name of a saved block.

    Raises:
        SettingsError, HubError: a check failed. One error reports all problems.
    """
    if problems := await _problems(hub, publications):
        raise together(problems)


async def _problems(hub: str, publications: Sequence[Publication]) -> list[UnderstudyError]:
    problems, notes = await asyncio.to_thread((await load_hub(hub)).problems, publications)
    for note in notes:
        get_run_logger().warning("%s", note)
    return problems


async def _problems_of_base(settings: Settings, training: Training) -> list[UnderstudyError]:
    from blocks.hf_hub import HfHub

    hub = await load_hub(settings.export.hub)
    try:
        await asyncio.to_thread((hub if isinstance(hub, HfHub) else HfHub()).read_access, training.base.model)
    except UnderstudyError as error:
        return [error]
    return []


async def _problems_of_jobs(settings: Settings, training: Training, pushed: Sequence[Publication]) -> list[UnderstudyError]:
    """Return the problems that would stop paid jobs: with the account, the scripts' repository, the hub, the jobs' token or the configured machines.

    Args:
        pushed: the models that the jobs publish.
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
        offered = {}  # config/hardware.yaml is used instead
    machines = flavors(load_hardware(), offered)
    for setting, name in (("flavors.train", training.flavors.train), ("flavors.convert", training.flavors.convert)) if training.flavors else ():
        if name not in machines:
            source = "The service offers" if offered else "config/hardware.yaml has"
            problems.append(SettingsError(f"{setting} of the training settings {settings.training!r} is {name!r}. {source}: {', '.join(machines)}."))
    return problems
