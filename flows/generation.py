"""Personas → rehearsed conversations."""

from prefect import flow

from tasks.generation import plan_batch, rehearse_batch
from tasks.reporting import publish_rehearsals
from tasks.run import begin_run


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
    run = await begin_run("generation", domain, settings, conversations=conversations, first_seed=first_seed)
    plans = plan_batch(run, conversations, first_seed)
    batch = await rehearse_batch(plans, run)
    await publish_rehearsals(batch, run)
    return batch
