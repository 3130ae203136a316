"""Replies that failed, and better ones to the same messages: the assistant is asked again where a judge cites a failure, and judged up to there."""

from prefect import flow

from tasks.policy import guarded
from tasks.preferences import PreferencesRef, ask_batch, publish_replies
from tasks.run import begin_run


@guarded
@flow(name="preferences", flow_run_name="preferences-{domain}")
async def preferences(domain: str = "therapeutic-coaching", batch: str | None = None, settings: str = "config/pipeline.yaml") -> PreferencesRef:
    """Ask the assistant again where it failed a criterion, and keep the first reply that passes beside the one that failed.

    Args:
        domain: name of a domain pack.
        batch: a batch of assessments; default: the domain's latest.
        settings: path of the settings file; `preferences` limits how often it is asked.

    Returns:
        The report; the dataset flow takes the pairs from the data root.
    """
    run = await begin_run("preferences", domain, settings, batch=batch)
    chosen, found, left_out = await ask_batch(run, batch)
    return await publish_replies(run, chosen, found, left_out)
