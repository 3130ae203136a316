"""Load the service that runs paid jobs, by its name in the settings."""

from typing import TYPE_CHECKING

from prefect.exceptions import ObjectNotFound

from core.errors import SettingsError
from core.settings.keys import refuse_keys
from core.settings.pipeline import Settings

if TYPE_CHECKING:
    from blocks.hf_job import HfJob


async def load_jobs(name: str, namespace: str) -> "HfJob":
    """Return the service that runs jobs.

    Args:
        name: `hf` for Hugging Face Jobs with the environment's token, or the name of a saved block.
        namespace: the user or organisation that pays, if the block names none.

    Raises:
        SettingsError: there is no such block.
    """
    from blocks.hf_job import HfJob

    refuse_keys({"jobs.where": name})
    try:
        block = HfJob() if name == "hf" else await HfJob.aload(name)
    except (ValueError, ObjectNotFound) as error:  # Prefect raises one of them if no such block exists
        raise SettingsError(
            f"Unknown place for jobs {name!r} (jobs.where). Allowed: local, hf, or the name of a saved block of the server that PREFECT_API_URL names."
        ) from error
    return block if block.namespace else block.model_copy(update={"namespace": namespace})


async def service(settings: Settings) -> "HfJob":
    """Return the service that runs jobs according to the settings.

    Raises:
        SettingsError: there is no such block.
    """
    return await load_jobs(settings.jobs.where, settings.jobs.namespace or settings.export.repo.partition("/")[0])
