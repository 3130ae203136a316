"""The review of an existing pack by its experts; a person decides on the findings."""

from pathlib import PurePosixPath

from prefect.logging import get_run_logger

from core.authoring.critique import Reviews, pack_files, review_by_experts
from core.authoring.design import Designer, kept_json
from core.errors import SettingsError
from core.fingerprint import fingerprint
from core.llm.bills import bills
from core.llm.run import Run
from core.packs.places import domains
from core.records import Reference
from core.reports.render import markdown
from tasks.artifacts import publish_report
from tasks.owning import awaited
from tasks.run import designing, log_bill


class CritiqueRef(Reference):
    """The findings on a pack as a file, and their number and files as text."""

    summary: dict[str, str]


async def criticise_pack(run: Run) -> CritiqueRef:
    """Have each of the pack's experts review all its files; stored findings on the same files are used instead of asking again.

    Raises:
        SettingsError: roles.designer names no model.
    """
    if not run.models.get("designer"):
        raise SettingsError("roles.designer is null, so no model reviews. Name the strongest model that you have.")
    store, pack = run.store, run.pack
    files = pack_files(domains()[pack.name], pack.name)
    name = f"critiques/{pack.name}-{fingerprint([files, [expert.model_dump() for expert in pack.experts]])}"
    numbers = run.settings.design
    async with awaited(store, name, f"The critique of {pack.name}"), designing(run, PurePosixPath(name).name) as model:
        reviews = kept_json(f"{store.root}/{name}.json", store.read(f"{name}.json") if store.exists(f"{name}.json") else "{}", Reviews)
        designer = Designer(model, pack.intended_use, pack.name, numbers.attempts, numbers.max_tokens)
        findings = await review_by_experts(
            designer, files, pack.experts, reviews, lambda: store.write(f"{name}.json", Reviews.dump_json(reviews, indent=2).decode())
        )
        model.remove()
    log_bill(run)
    text = markdown("critique", facts={"pack": pack, "findings": findings, "bills": bills(store, run.ledger.run), "caveat": model.caveat})
    page = store.write(f"{name}.md", text)
    await publish_report(text, key=f"critique-{pack.name}", description=f"Findings of its experts on {pack.name}")
    get_run_logger().info("%d findings on %s: %s/%s", len(findings), pack.name, store.root, page)
    by_file = {finding.file: sum(other.file == finding.file for other in findings) for finding in findings}
    counts = ", ".join(f"{file} ({count})" for file, count in by_file.items()) or "none"
    return CritiqueRef(
        path=f"{name}.json", summary={"findings": str(len(findings)), "files": counts, "cost": str(run.ledger.bill), "report": f"{store.root}/{page}"}
    )
