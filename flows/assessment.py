"""Transcripts → verdicts → pass, fail or incomplete."""

from prefect import flow

from tasks.assessment import all_rehearsed, assess_batch, read_folder
from tasks.reporting import publish_assessment
from tasks.run import begin_run


@flow(name="assessment", flow_run_name="assessment-{domain}")
async def assessment(
    domain: str = "therapeutic-coaching", transcripts: str | None = None, batch: str | None = None, settings: str = "config/pipeline.yaml"
) -> str:
    """Judge transcripts against the domain's rubric.

    Args:
        domain: name of a domain pack.
        transcripts: a folder of transcripts from elsewhere (*.json, any of the known shapes).
        batch: a batch that the generation made; without it and without a folder, everything rehearsed for the domain.
        settings: path of the settings file.

    Returns:
        Name of the batch of assessments below the data root.
    """
    run = await begin_run("assessment", domain, settings, transcripts=transcripts, batch=batch)
    if transcripts:
        batch = read_folder(transcripts, domain)
    assessed = await assess_batch(batch or all_rehearsed(domain), run)
    await publish_assessment(assessed, run)
    return assessed
