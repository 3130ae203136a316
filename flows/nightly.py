"""Every night: a batch of new conversations, and assessments of all conversations that have none."""

from prefect import flow

from core.quantities import Count
from tasks.nightly import NightRef, assess_night, begin_night, name_of_night, publish_night, rehearse_night, repair_night
from tasks.owning import awaited
from tasks.policy import guarded
from tasks.reconciling import end_dead_runs
from tasks.run import begin_run


@guarded
@flow(name="nightly", flow_run_name="nightly-{domain}")
async def nightly(
    domain: str = "therapeutic-coaching", conversations: Count | None = None, night: str | None = None, settings: str = "config/pipeline.yaml"
) -> NightRef:
    """Generate conversations with new personas, judge all conversations that have no assessment, and write a report.

    A spent budget, the end time or an outage ends the night early, and the next night continues. The run fails if a person must act.

    Args:
        domain: name of a domain pack.
        conversations: number of new conversations; default: from the settings.
        night: date of the night, such as 2026-11-30; default: the scheduled date. A night that has started keeps its personas.
        settings: path of the settings file.

    Returns:
        The report on the night.
    """
    await end_dead_runs()
    name = name_of_night(settings, night)
    run = await begin_run("nightly", domain, settings, conversations=conversations, night=name)
    async with awaited(run.store, f"nights/{domain}", "The plan of a night"):
        state = begin_night(run, conversations, name)
    await rehearse_night(run, state)
    await assess_night(run, state)
    await repair_night(run, state)
    return await publish_night(run, state)
