"""The whole product: from a domain pack to a small model, compared with its base. Read this file first."""

from prefect import flow

from core.packs.pack import recorded_conversations
from core.quantities import Count
from core.settings.pipeline import load_training
from flows.assessment import assessment
from flows.dataset import dataset
from flows.evaluation import evaluation
from flows.export import export
from flows.generation import generation
from flows.training import training
from tasks.job_forecast import check_job_budget
from tasks.paid_jobs import cancel_jobs
from tasks.policy import guarded
from tasks.run import begin_run
from tasks.run_report import ReportRef, publish_run
from tasks.training import base_model


@guarded
@flow(name="pipeline", flow_run_name="pipeline-{domain}", on_cancellation=[cancel_jobs])
async def pipeline(
    domain: str = "therapeutic-coaching", conversations: Count | None = None, transcripts: str | None = None, settings: str = "config/pipeline.yaml"
) -> ReportRef:
    """Run all stages: make an understudy and decide whether it is better than its base.

    Args:
        domain: name of a domain pack (a folder in config/domains).
        conversations: number of conversations to generate; default: from the settings.
        transcripts: a folder of existing transcripts to train on, instead of generated ones.
        settings: path of the settings file.

    Returns:
        The run's folder with the report, and its main figures.
    """
    run = await begin_run("pipeline", domain, settings, conversations=conversations, transcripts=transcripts)
    # a missing base, or jobs beyond the budget, end the run before anything is paid
    numbers = load_training(run.settings.training)
    await check_job_budget(run, await base_model(run, numbers), numbers, 0 if transcripts else conversations or run.settings.generation.conversations)

    rehearsed = None if transcripts else await generation(domain, conversations, settings=settings)
    recorded = recorded_conversations(domain) if run.settings.dataset.recorded and not transcripts else None
    assessed = await assessment(domain, str(recorded) if recorded else transcripts, rehearsed, settings=settings)
    examples = await dataset(assessed, domain, settings=settings)
    base, adapter = await training(examples, domain, settings)
    base_gguf, understudy_gguf = await export(base, adapter, examples, domain, settings)
    compared = await evaluation(base_gguf, understudy_gguf, examples, domain, settings)

    models = {"base": base_gguf, "understudy": understudy_gguf}
    return await publish_run(run, assessed, examples, adapter, models, compared)
