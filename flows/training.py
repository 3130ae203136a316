"""A dataset → an adapter trained on a base model."""

from prefect import flow
from prefect.logging import get_run_logger

from core.records import DatasetRef, ModelRef
from core.settings.pipeline import load_training
from core.training.latest import latest_dataset
from core.training.preferred import has_pairs
from tasks.export import check_base
from tasks.jobs import script_hash
from tasks.paid_jobs import cancel_jobs
from tasks.policy import guarded, run_cached
from tasks.published import check_dataset, check_made, place_of_jobs
from tasks.publishing import publish_adapter, publish_preferred
from tasks.run import begin_run
from tasks.training import agree_to_pairs, agree_to_training, base_model, train, train_pairs


@guarded
@flow(name="training", flow_run_name="training-{domain}", on_cancellation=[cancel_jobs])
async def training(
    dataset: DatasetRef | None = None, domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml"
) -> tuple[ModelRef, ModelRef]:
    """Train an adapter on a dataset. If the training settings have `pairs` and the dataset has pairs, preference training follows.

    Args:
        dataset: the dataset commit to train on; default: the domain's latest.
        domain: name of a domain pack.
        settings: path of the settings file; it names the training settings.

    Returns:
        The base model and the adapter. The adapter of preference training is looked up by this one (core/training/preferred.py).
    """
    run = await begin_run("training", domain, settings, dataset=dataset)
    examples, numbers = dataset or latest_dataset(run.store, domain), load_training(run.settings.training)

    await check_dataset(run, examples)
    base, place = await base_model(run, numbers), await place_of_jobs(run)
    await run_cached(check_base, run, base, numbers, script_hash("convert_gguf.py"))
    await agree_to_training(run, examples, base, numbers, place)
    adapter = await run_cached(train, run, examples, base, numbers, script_hash("train_sft.py"), place)
    published = await publish_adapter(run, examples, base, adapter)
    if has_pairs(run.store, examples, numbers):
        await check_made(run, published)
        await agree_to_pairs(run, examples, base, published, numbers, place)
        preferred = await run_cached(train_pairs, run, examples, base, published, numbers, script_hash("train_pairs.py"), place)
        await publish_preferred(run, examples, base, published, preferred)
    elif numbers.pairs is not None:
        get_run_logger().warning("No preference training: the dataset has no pairs. Make some (understudy repair or preferences), then build it again.")
    return base, published
