"""Pairs of a failed reply and a better one: the assistant answers the cited message again, and the judges read the conversation up to that reply."""

from prefect import flow

from tasks.policy import guarded
from tasks.preferences import PreferencesRef, ask_batch, publish_replies
from tasks.run import begin_run


@guarded
@flow(name="preferences", flow_run_name="preferences-{domain}")
async def preferences(domain: str = "therapeutic-coaching", batch: str | None = None, settings: str = "config/pipeline.yaml") -> PreferencesRef:
    """Ask the assistant again where it failed a criterion, and store the failed reply and the first one that passes as a pair.

    Args:
        domain: name of a domain pack.
        batch: a batch of assessments; default: the domain's latest.
        settings: path of the settings file; `preferences` limits how often the assistant is asked.

    Returns:
        The report; the dataset flow reads the pairs from the data root.
    """
    run = await begin_run("preferences", domain, settings, batch=batch)
    chosen, replies, left_out = await ask_batch(run, batch)
    return await publish_replies(run, chosen, replies, left_out)
