"""A dataset → an adapter trained on a base model."""

from prefect import flow

from core.pack import load_pack
from core.records import DatasetRef, ModelRef
from core.settings import load_settings, load_training
from tasks.jobs import script_hash
from tasks.policy import ensured
from tasks.training import make_base, train


@flow(name="training", flow_run_name="training-{dataset.repo}")
async def training(dataset: DatasetRef, domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> tuple[ModelRef, ModelRef]:
    """Train an adapter.

    Args:
        dataset: the commit to train on, as the dataset flow returns it.
        domain: name of a domain pack.
        settings: path of the settings file; it names the training settings.

    Returns:
        The base model and the adapter.
    """
    config = load_settings(settings)
    numbers = load_training(config.training)
    base = await ensured(make_base, ModelRef, domain, load_pack(domain).hash, numbers, config.generation, script_hash("make_tiny_base.py"))
    return base, await ensured(train, ModelRef, dataset, base, numbers, script_hash("train_sft.py"))
