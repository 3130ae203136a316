"""An existing domain pack → the findings of its experts."""

from prefect import flow

from tasks.critique import CritiqueRef, criticise_pack
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="critique", flow_run_name="critique-{domain}")
async def critique(domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> CritiqueRef:
    """Have the experts that a pack names review it, without changing it.

    Args:
        domain: name of a domain pack.
        settings: path of the settings file; roles.designer plays the experts.

    Returns:
        The findings with their report.
    """
    return await criticise_pack(await begin_run("critique", domain, settings))
