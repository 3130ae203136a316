"""Passing transcripts → training examples → a dataset on the hub."""

from prefect import flow

from core.records import DatasetRef
from core.settings.pipeline import load_settings
from tasks.dataset import build_dataset, check_hub, plan_dataset, publish_dataset, push_dataset
from tasks.latest import keep_dataset
from tasks.policy import guarded, run_cached


@guarded
@flow(name="dataset", flow_run_name="dataset-{domain}")
async def dataset(
    assessed: str | None = None,
    domain: str = "therapeutic-coaching",
    checkpoints: str | None = None,
    transcripts: str | None = None,
    settings: str = "config/pipeline.yaml",
) -> DatasetRef:
    """Make the training set from the transcripts that passed, and publish it.

    Args:
        assessed: batches of assessments, separated by commas; default, if there are no checkpoints: all by the current rubric.
        domain: name of a domain pack.
        checkpoints: assessments of other tools: files or folders (*.jsonl, *.json), separated by commas.
        transcripts: the folder with the transcripts of the checkpoints.
        settings: path of the settings file.

    Returns:
        The pushed dataset, pinned to a commit.
    """
    plan = plan_dataset(domain, assessed, checkpoints, transcripts, load_settings(settings))
    await check_hub(plan.settings)
    built = await run_cached(build_dataset, plan)
    pushed = await run_cached(push_dataset, built, plan.settings)
    await publish_dataset(pushed, domain)
    keep_dataset(domain, pushed)
    return pushed
