"""Passing transcripts → training examples → a dataset on the hub."""

from prefect import flow

from core.records import DatasetRef
from tasks.dataset import build_dataset, prepare_dataset, publish_dataset, push_dataset
from tasks.policy import guarded, run_cached
from tasks.run import begin_run


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
        assessed: batches of assessments, separated by commas; default, if no checkpoints are named: all assessments that used the current rubric.
        domain: name of a domain pack.
        checkpoints: assessments of other tools: files or folders (*.jsonl, *.json), separated by commas.
        transcripts: the folder with the transcripts that the checkpoints assess.
        settings: path of the settings file.

    Returns:
        The pushed dataset, pinned to a commit.
    """
    run = await begin_run("dataset", domain, settings, assessed=assessed, checkpoints=checkpoints, transcripts=transcripts)
    plan = await prepare_dataset(run, assessed, checkpoints, transcripts)
    built = await run_cached(build_dataset, run, plan)
    return await publish_dataset(run, await run_cached(push_dataset, run, built, plan.settings))
