"""Transcripts → verdicts → pass, fail or incomplete."""

from prefect import flow

from core.quantities import Count
from core.records import Shard
from tasks.assessment import assess_batch, batch_to_judge, check_assessed, check_passes, judge_again
from tasks.assessment_report import publish_assessment
from tasks.judging_shards import judging
from tasks.policy import guarded
from tasks.run import begin_run
from tasks.shards import store_shard_result


@guarded
@flow(name="assessment", flow_run_name="assessment-{domain}")
async def assessment(
    domain: str = "therapeutic-coaching",
    transcripts: str | None = None,
    batch: str | None = None,
    checkpoints: str | None = None,
    repeat: Count = 1,
    sample: Count | None = None,
    settings: str = "config/pipeline.yaml",
    shards: Count = 1,
    shard: Shard | None = None,
) -> str:
    """Judge transcripts against the domain's rubric.

    Args:
        domain: name of a domain pack.
        transcripts: a folder of existing transcripts, in any supported format.
        batch: a batch of generated conversations, as `understudy generate` printed it; default, without a folder: all conversations of the domain.
        checkpoints: earlier assessments to reuse: files or folders (*.jsonl, *.json), separated by commas.
        repeat: how often a sample is judged; with 3, the report says how often the three answers differ.
        sample: number of transcripts in that sample; default: from the settings.
        settings: path of the settings file.
        shards: number of runs (one per worker) that share the batch.
        shard: leave empty; the run that starts the shards sets it.

    Returns:
        Path of the batch of assessments below the data root.
    """
    run = await begin_run("assessment", domain, settings, shard, transcripts=transcripts, batch=batch, checkpoints=checkpoints, repeat=repeat, sample=sample)
    assessed = await assess_batch(batch_to_judge(run, transcripts, batch), run, checkpoints, judging(shards, settings))
    again = await judge_again(assessed, run, repeat, sample)
    if shard is None:
        await publish_assessment(assessed, run, again)
        check_assessed(run, assessed)
        check_passes(run, assessed)
    else:
        store_shard_result(assessed, run, shard)
    return assessed
