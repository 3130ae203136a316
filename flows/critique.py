"""An existing domain pack → findings of its experts."""

from prefect import flow

from tasks.critique import CritiqueRef, criticise_pack
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="critique", flow_run_name="critique-{domain}")
async def critique(domain: str = "therapeutic-coaching", settings: str = "config/pipeline.yaml") -> CritiqueRef:
    """Have the experts named in a pack review it; the pack is not changed.

    Args:
        domain: name of a domain pack.
        settings: path of the settings file; the model of roles.designer plays the experts.

    Returns:
        The findings and their report.
    """
    return await criticise_pack(await begin_run("critique", domain, settings))
