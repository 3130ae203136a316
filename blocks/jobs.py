"""Where jobs run elsewhere: from the name in the settings to a block."""

from typing import TYPE_CHECKING

from prefect.exceptions import ObjectNotFound

from core.errors import SettingsError
from core.settings.keys import refuse_keys
from core.settings.pipeline import Settings

if TYPE_CHECKING:
    from blocks.hf_job import HfJob


async def load_jobs(name: str, namespace: str) -> "HfJob":
    """Return the service of jobs: `hf` with the token of the environment, or a saved block by its name.

    Args:
        namespace: whose account pays, if the block does not say it.

    Raises:
        SettingsError: there is no such block.
    """
    from blocks.hf_job import HfJob

    refuse_keys({"jobs.where": name})
    try:
        block = HfJob() if name == "hf" else await HfJob.aload(name)
    except (ValueError, ObjectNotFound) as error:  # Prefect's words for "no such block"
        raise SettingsError(
            f"Unknown place for jobs {name!r} (jobs.where). Allowed: local, hf, or the name of a saved block of the server that PREFECT_API_URL names."
        ) from error
    return block if block.namespace else block.model_copy(update={"namespace": namespace})


async def service(settings: Settings) -> "HfJob":
    """Return where the settings have jobs run.

    Raises:
        SettingsError: there is no such block.
    """
    return await load_jobs(settings.jobs.where, settings.jobs.namespace or settings.export.repo.partition("/")[0])
