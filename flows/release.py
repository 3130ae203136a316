"""A release candidate: all transcripts that passed → an evaluated understudy, with a person's approval before a GPU is paid for."""

from prefect import flow

from core.records import EvaluationRef
from flows.dataset import dataset
from flows.evaluation import evaluation
from flows.export import export
from flows.training import training
from tasks.paid_jobs import cancel_jobs
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="release", flow_run_name="release-{domain}", on_cancellation=[cancel_jobs])
async def release(domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> EvaluationRef:
    """Train on all transcripts that passed, and compare the result with its base.

    Args:
        domain: name of a domain pack.
        settings: path of the settings file; with `jobs.approve: ask` the run waits for approval before each paid job.

    Returns:
        The comparison and its decision.
    """
    await begin_run("release", domain, settings)
    examples = await dataset(domain=domain, settings=settings)
    base, adapter = await training(examples, domain, settings)
    base_gguf, understudy_gguf = await export(base, adapter, examples, domain, settings)
    return await evaluation(base_gguf, understudy_gguf, examples, domain, settings)
