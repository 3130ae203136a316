"""Transcripts that almost passed, or passed and are not gathered: the failed answers are rewritten, and the same judges judge the transcripts again."""

from prefect import flow

from tasks.assessment import assess_batch, check_assessed
from tasks.policy import guarded
from tasks.repair import RepairRef, publish_repairs, repair_batch
from tasks.run import begin_run


@guarded
@flow(name="repair", flow_run_name="repair-{domain}")
async def repair(domain: str = "therapeutic-coaching", batch: str | None = None, settings: str = "config/pipeline.yaml") -> RepairRef:
    """Repair transcripts that failed close to the threshold, or passed but are not gathered for training.

    Transcripts that failed a gate are not repaired, and originals are not changed.

    Args:
        domain: name of a domain pack.
        batch: a batch of assessments; default: the domain's latest.
        settings: path of the settings file; `repair` limits how much is rewritten.

    Returns:
        The assessments of the repaired transcripts, which the dataset uses, and the outcome.
    """
    run = await begin_run("repair", domain, settings, batch=batch)
    chosen, repaired = await repair_batch(run, batch)
    judged = await assess_batch(repaired, run)
    report = await publish_repairs(run, chosen, judged)
    check_assessed(run, judged)
    return report
