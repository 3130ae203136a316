"""Personas → rehearsed conversations."""

from prefect import flow

from core.quantities import Count, Seed
from core.records import Shard
from core.rehearsal.plan import plan_batch
from tasks.generation import check_rehearsed, rehearse_batch
from tasks.policy import guarded
from tasks.reporting import publish_rehearsals
from tasks.run import begin_run
from tasks.shards import rehearse_in_shards, store_shard_result


@guarded
@flow(name="generation", flow_run_name="generation-{domain}")
async def generation(
    domain: str = "therapeutic-coaching",
    conversations: Count | None = None,
    first_seed: Seed | None = None,
    settings: str = "config/pipeline.yaml",
    shards: Count = 1,
    shard: Shard | None = None,
) -> str:
    """Generate conversations between a simulated user and an assistant.

    Args:
        domain: name of a domain pack.
        conversations: number of conversations; default: from the settings.
        first_seed: seed of the first persona; each further persona has the next seed. Seeds reserved for the evaluation are rejected.
        settings: path of the settings file.
        shards: number of runs (one per worker) that share the batch.
        shard: leave empty; the run that starts the shards sets it.

    Returns:
        Path of the batch of transcripts below the data root.
    """
    run = await begin_run("generation", domain, settings, shard, conversations=conversations, first_seed=first_seed)
    plans = plan_batch(run, conversations, first_seed)
    batch = await (rehearse_in_shards(plans, run, shards, settings) if shards > 1 else rehearse_batch(plans, run))
    if shard is None:  # shards are checked together, by the run that started them
        check_rehearsed(run, batch)
        await publish_rehearsals(batch, run)
    else:
        store_shard_result(batch, run, shard)
    return batch
