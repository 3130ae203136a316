"""Personas → rehearsed conversations."""

from prefect import flow

from core.pack import load_pack
from core.settings import load_settings
from tasks.generation import plan_batch, rehearse_batch


@flow(name="generation", flow_run_name="generation-{domain}")
async def generation(
    domain: str = "therapeutic-coaching", conversations: int | None = None, first_seed: int | None = None, settings: str = "config/pipeline.yaml"
) -> str:
    """Rehearse conversations between a simulated user and an assistant.

    Args:
        domain: name of a domain pack.
        conversations: how many; by default as many as the settings say.
        first_seed: seed of the first persona; the others follow. Seeds that are kept for the evaluation are refused.
        settings: path of the settings file.

    Returns:
        Name of the batch of transcripts below the data root.
    """
    config = load_settings(settings)
    plans = plan_batch(load_pack(domain), config, conversations, first_seed)
    return await rehearse_batch(plans, config.generation.concurrency)
