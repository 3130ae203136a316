"""Checks that published datasets and models still exist, before anything that depends on them is paid for or reported."""

import asyncio
from typing import TYPE_CHECKING

from blocks.hub import load_hub
from blocks.jobs import service
from core.errors import HubError
from core.llm.run import Run
from core.records import Commit, DatasetRef, ModelRef, RepoKind
from core.training.job_spec import HUB_FILE

if TYPE_CHECKING:
    from blocks.hf_hub import HfHub


async def exists_on(hub: str, ref: DatasetRef | ModelRef) -> bool:
    """Return whether a hub has the commit of a dataset or model.

    Args:
        hub: the hub, as the settings name it.
        ref: the dataset or model.

    Raises:
        HubError: the hub does not answer.
    """
    kind: RepoKind = "dataset" if isinstance(ref, DatasetRef) else "model"
    place, commit = await load_hub(hub), Commit(oid=ref.commit or "", url=ref.url)
    return await asyncio.to_thread(place.holds, ref.repo or "", kind, commit)


async def base_hub(run: Run) -> "HfHub":
    """Return the Hub that base models come from: that of the settings, or, if models are published in a folder, the one of the environment."""
    from blocks.hf_hub import HfHub

    hub = await load_hub(run.settings.export.hub)
    return hub if isinstance(hub, HfHub) else HfHub()


async def place_of_jobs(run: Run) -> str:
    """Return where paid jobs of a run leave their results, which is part of a result's identity; empty if jobs run here."""
    return f"{(await service(run.settings)).hub.where()} {run.settings.export.repo}" if run.settings.jobs.where != "local" else ""


async def check_dataset(run: Run, dataset: DatasetRef) -> None:
    """Check that a published dataset exists, before a training uses it.

    Raises:
        HubError: it does not exist.
    """
    if not await exists_on(run.settings.dataset.hub, dataset):
        raise HubError(
            f"The dataset {dataset.repo} at {dataset.commit[:12]} does not exist (hub {run.settings.dataset.hub!r}, {dataset.url}). Run the dataset flow again "
            "(understudy dataset): it publishes the files that are kept on this machine."
        )


async def check_base(run: Run, base: ModelRef) -> None:
    """Check that the commit of a base on the Hub exists; a base that is a folder or a file is not checked.

    Raises:
        HubError: it does not exist.
    """
    if base.on_hub and not await asyncio.to_thread((hub := await base_hub(run)).holds, str(base.repo), "model", Commit(oid=str(base.commit), url=base.url)):
        raise HubError(f"The base {base.repo} at {str(base.commit)[:12]} is no longer at {hub.where()}. Run the training flow again (understudy train).")


async def check_made(run: Run, model: ModelRef) -> None:
    """Check that a model that a paid job left on the Hub exists; a model on this machine is not checked.

    Raises:
        HubError: it does not exist, or this token cannot see it.
    """
    if not model.on_hub or await exists_on(run.settings.export.hub, model):
        return
    store = run.store
    again = "Run the export flow again (understudy export)"
    if store.exists(f"{model.path}/{HUB_FILE}"):
        again = f"No job is paid for twice without your request: to have it made again, delete {store.root}/{model.path} and run the same command"
    raise HubError(
        f"{model.name} ({model.repo} at {str(model.commit)[:12]}) is no longer on the hub {run.settings.export.hub!r}, or is hidden from this token. Restore "
        f"it, or use a token that can see it. {again}."
    )
