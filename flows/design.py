"""A brief → a domain pack: drafted, reviewed, checked."""

from prefect import flow

from core.authoring.design import EXAMPLE
from core.authoring.draft import read_brief
from core.fingerprint import fingerprint
from core.storage.store import open_store
from tasks.design import DesignRef, criticise, draft, publish_design
from tasks.owning import awaited
from tasks.policy import guarded
from tasks.run import begin_run


@guarded
@flow(name="design", flow_run_name="design-{domain}")
async def design(brief: str, domain: str, settings: str = "config/pipeline.yaml", install: bool = False, overwrite: bool = False) -> DesignRef:
    """Draft a pack from a brief, have experts review it, and list its gaps.

    Args:
        brief: the text, or the path of a Markdown file: who talks to whom about what, what is good, what must never happen, where the model will run.
        domain: name of the new domain.
        settings: path of the settings file; the model of roles.designer writes the draft.
        install: whether the pack is installed (in UNDERSTUDY_PACKS, or the checkout); otherwise it stays below the data root.
        overwrite: whether an existing domain may be replaced; its old files are kept.

    Returns:
        The draft and its report.
    """
    drafted = read_brief(open_store(), brief, domain, overwrite)
    run = await begin_run("design", EXAMPLE, settings, drafted=domain, brief=fingerprint(drafted.brief))
    async with awaited(run.store, drafted.folder, f"The draft of {domain}"):
        await draft(run, drafted)
        findings = await criticise(run, drafted)
        return await publish_design(run, drafted, findings, install)
