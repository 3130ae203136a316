"""Passing transcripts → training examples → a dataset on the hub."""

from prefect import flow

from core.pack import load_pack
from core.records import DatasetRef
from core.settings import load_settings
from tasks.dataset import build_dataset
from tasks.policy import ensured


@flow(name="dataset", flow_run_name="dataset-{domain}")
async def dataset(assessed: str, domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> DatasetRef:
    """Gather the transcripts that passed, slice them and push them.

    Args:
        assessed: a batch of assessments, as the assessment returns it.
        domain: name of a domain pack.
        settings: path of the settings file.

    Returns:
        The pushed dataset, pinned to a commit.
    """
    return await ensured(build_dataset, DatasetRef, assessed, load_pack(domain).hash, load_settings(settings).dataset.of(domain))
