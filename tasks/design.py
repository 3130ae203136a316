"""A pack drafted from a brief: written file by file below the data root, reviewed, checked by the loader, and installed on request."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import PurePosixPath

from prefect.logging import get_run_logger
from pydantic import TypeAdapter

from core.authoring.critique import Finding, Reviews, pack_files, review_by_experts, revise
from core.authoring.design import EXAMPLE, BriefReading, Designer, check_reading, kept_json, place_of
from core.authoring.draft import Draft, install_pack
from core.authoring.pack_check import review_pack
from core.authoring.pack_files import draft_pack
from core.authoring.pilots import READY_PASS_RATE
from core.errors import SettingsError
from core.llm.bills import bills
from core.llm.run import Run
from core.packs.pack import load_pack
from core.packs.places import PACKS_VARIABLE
from core.records import Record, Reference
from core.reports.render import markdown
from tasks.artifacts import publish_report
from tasks.run import designing, log_bill, open_recalled

READING, REVIEWS, CRITIQUE, REVISION = "reading.json", "reviews.json", "critique.json", "revision.json"
"""Working files of a draft: the reading of the brief, the reviews, the decisions, and a revision that is not written to its file yet."""
READ, DECIDED = TypeAdapter(BriefReading), TypeAdapter(list[Finding])
FOR_A_PERSON = "For a person to decide: it is not about one of the existing files."


class Revision(Record):
    """A revised file, and the decisions on the findings about it."""

    file: str
    text: str
    decided: list[Finding]


REVISED = TypeAdapter(Revision)


class DesignRef(Reference):
    """The report on a drafted pack, and its main figures as text."""

    summary: dict[str, str]


async def draft(run: Run, drafted: Draft) -> None:
    """Read the brief for contradictions, then write the files of the pack that do not exist yet.

    Raises:
        SettingsError: roles.designer names no model.
        DesignError: the brief contradicts itself, or a file stays invalid.
    """
    numbers = run.settings.design
    async with _designing(run, drafted) as designer:
        if (kept := drafted.read(READING)) is None:
            reading = await designer.read_brief()
            drafted.save(READING, reading.model_dump_json(indent=2))
        else:
            reading = kept_json(f"{READING} of the draft", kept, READ)
        if numbers.contradictions == "refuse":
            check_reading(reading)
        await draft_pack(designer, drafted.domain, drafted.read, drafted.save)
    get_run_logger().info("Drafted: %s/%s", drafted.store.root, drafted.folder)
    log_bill(run)


async def criticise(run: Run, drafted: Draft) -> list[Finding]:
    """Have the pack's experts review the draft, and have the designer apply each finding or decline it with a reason.

    Decisions of an earlier run are kept. Findings that are not about one existing file are left to a person.
    """
    if not run.settings.design.critique:
        return []
    reviews = kept_json(f"{REVIEWS} of the draft", drafted.read(REVIEWS) or "{}", Reviews)
    decided = kept_json(f"{CRITIQUE} of the draft", drafted.read(CRITIQUE) or "[]", DECIDED)
    with drafted.unpacked() as root:
        files, experts = pack_files(root, drafted.domain), load_pack(drafted.domain, root).experts

    def keep() -> None:
        drafted.save(REVIEWS, Reviews.dump_json(reviews, indent=2).decode())
        drafted.store.write_json(f"{drafted.folder}/{CRITIQUE}", [finding.model_dump() for finding in decided])

    async with _designing(run, drafted) as designer:
        findings = await review_by_experts(designer, files, experts, reviews, keep)
        for name in dict.fromkeys(finding.file for finding in findings if finding.file not in {item.file for item in decided}):
            about = [finding for finding in findings if finding.file == name]
            if name in files:
                reviewed = await _revised(drafted, designer, name, files[name], about)
            else:  # about a file that is missing, or about several files
                reviewed = [finding.model_copy(update={"applied": False, "reason": FOR_A_PERSON}) for finding in about]
            decided += reviewed
            keep()
            drafted.store.remove(f"{drafted.folder}/{REVISION}")
    log_bill(run)
    return decided


async def _revised(drafted: Draft, designer: Designer, name: str, text: str, about: Sequence[Finding]) -> list[Finding]:
    """Have the designer revise a file, and write it; return the decisions.

    Revision and decisions are stored together before the file is written, so that a run that is killed in between continues from there.
    """
    if (kept := drafted.read(REVISION)) is None or (revision := kept_json(f"{REVISION} of the draft", kept, REVISED)).file != name:
        new, decided = await revise(designer, name, text, about, lambda new: drafted.check_changed(name, new))
        revision = Revision(file=name, text=new, decided=decided)
        drafted.save(REVISION, revision.model_dump_json(indent=2))
    drafted.save(place_of(name, drafted.domain), revision.text)
    return revision.decided


@asynccontextmanager
async def _designing(run: Run, drafted: Draft) -> AsyncGenerator[Designer]:
    """Yield the designer; its answers are kept until the design is published.

    Raises:
        SettingsError: roles.designer names no model.
    """
    if not run.models.get("designer"):
        raise SettingsError("roles.designer is null, so no model drafts. Name the strongest model that you have.")
    numbers = run.settings.design
    async with designing(run, PurePosixPath(drafted.folder).name) as model:
        yield Designer(model, drafted.brief, drafted.domain, numbers.attempts, numbers.max_tokens)


async def publish_design(run: Run, drafted: Draft, findings: list[Finding], install: bool) -> DesignRef:
    """Load the draft as a pack, write the report with its gaps, and install the pack if requested."""
    with drafted.unpacked() as root:
        pack = load_pack(drafted.domain, root)
        lacking = review_pack(pack)
    place = install_pack(drafted) if install else None
    model = await open_recalled(run, run.model("designer"), PurePosixPath(drafted.folder).name)
    caveat = model.caveat
    copied = f"the designer is scripted, so this is the pack {EXAMPLE} under the name {drafted.domain} and contains nothing from the brief. Name roles.designer"
    if caveat:
        get_run_logger().warning("%s", f"{copied[0].upper()}{copied[1:]}{', and pass overwrite=true' if install else ''}.")
    facts = {
        "caveat": caveat,
        "domain": drafted.domain,
        "ready": READY_PASS_RATE,
        "folder": f"{drafted.store.root}/{drafted.folder}",
        "installed": place,
        "pack": pack,
        "lacking": lacking,
        "findings": findings,
        "reading": kept_json(f"{READING} of the draft", drafted.read(READING) or '{"contradictions": [], "open": []}', READ),
        "bills": bills(drafted.store, run.ledger.run),
        "variable": PACKS_VARIABLE,
    }
    text = markdown("design", facts=facts)
    page = drafted.store.write(f"{drafted.folder}/design.md", text)
    await publish_report(text, key=f"design-{drafted.domain}", description=f"The pack {drafted.domain}, drafted from its brief")
    model.remove()
    applied = sum(finding.applied is True for finding in findings)
    summary = {
        **({"no pack of yours": copied} if caveat else {}),
        "pack": place or f"{facts['folder']} (not installed: install=true)",
        "criteria": f"{len(pack.rubric.criteria)}, {sum(item.head.gate for item in pack.rubric.criteria.values())} of them gates",
        "findings": f"{len(findings)}, {applied} applied",
        "lacking": str(len(lacking)),
        "cost": str(run.ledger.bill),
        "report": f"{drafted.store.root}/{page}",
    }
    return DesignRef(path=f"{drafted.folder}/design.md", summary=summary)
