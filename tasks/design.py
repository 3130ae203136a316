"""A pack drafted from a brief: file by file into the data root, reviewed, checked by the loader, and installed when somebody says so."""

import json
import os
import re
import shutil
import tempfile
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from prefect.logging import get_run_logger

from core.authoring.critique import Finding, Reviews, pack_files, review, revise
from core.authoring.design import BriefReading, Designer, check_brief, check_file, check_reading, draft_pack, place_of
from core.authoring.pack_check import review_pack
from core.authoring.pilots import READY_PASS_RATE
from core.errors import DesignError, SettingsError
from core.fingerprint import fingerprint
from core.llm.ledger import bills
from core.packs.pack import PACKS_VARIABLE, domains, load_pack, roots
from core.paths import project_folder, project_path, user_path
from core.records import Reference
from core.reports.render import markdown
from core.storage.store import Store, open_store
from core.text_files import read_text
from tasks.artifacts import publish_report
from tasks.run import Run, log_bill, open_model, turn

READING, REVIEWS, CRITIQUE = "reading.json", "reviews.json", "critique.json"
FOR_A_PERSON = "For a person: it is not about one of the files as they stand."


class DesignRef(Reference):
    """A drafted pack below the data root, and what came of it in words."""

    summary: dict[str, str]


@dataclass(frozen=True)
class Draft:
    """A pack being drafted.

    Args:
        folder: below the data root; the same brief and domain have the same, so that a stopped draft goes on.
    """

    domain: str
    brief: str
    folder: str
    store: Store

    def read(self, file: str) -> str | None:
        """Return a file's text, or nothing; of the criteria's folder all of them."""
        if file.endswith("/criteria"):
            names = self.store.names(f"{self.folder}/{file}", ".md")
            return "\n\n".join(self.store.read(name) for name in names) or None
        name = f"{self.folder}/{file}"
        return self.store.read(name) if self.store.exists(name) else None

    def save(self, file: str, text: str) -> None:
        """Write a file."""
        self.store.write(f"{self.folder}/{file}", text)

    @contextmanager
    def unpacked(self) -> Generator[Path]:
        """Write the pack's files below a folder that is gone afterwards."""
        with tempfile.TemporaryDirectory() as folder:
            self.unpack(Path(folder))
            yield Path(folder)

    def check_changed(self, file: str, text: str) -> None:
        """See that the pack would load with this text of a file.

        Raises:
            PackError: it would not.
        """
        check_file(file, text)
        with self.unpacked() as root:
            (root / place_of(file, self.domain)).write_text(text, encoding="utf-8")
            load_pack(self.domain, root)

    def unpack(self, root: Path) -> None:
        """Write the pack's files below a folder."""
        for place in (f"config/domains/{self.domain}", f"prompts/{self.domain}", f"prompts/{self.domain}/criteria"):
            for name in self.store.names(f"{self.folder}/{place}"):
                if Path(name).suffix in (".md", ".yaml"):
                    target = root / place / Path(name).name
                    target.parent.mkdir(parents=True, exist_ok=True)
                    target.write_text(self.store.read(name), encoding="utf-8")


def read_brief(path: str, domain: str, overwrite: bool) -> Draft:
    """Read a brief and say where its pack is drafted.

    Raises:
        DesignError: no such file, too little in it, a domain's name of another form, or one that is there and is not to be overwritten.
    """
    if not re.fullmatch(r"[a-z][a-z0-9-]{2,40}", domain):
        raise DesignError(f"A domain is called {domain!r:.80}. Allowed: lower-case letters, digits and dashes, as in coding-mentor.")
    if domain not in domains() and (taken := [str(path) for root in roots() for path in _folders(domain, root) if path.exists()]):
        raise DesignError(f"The domain {domain!r} cannot be made: {taken[0]} is there already, and is no pack's. Choose another name.")
    if domain in domains() and not overwrite:
        raise DesignError(f"The domain {domain!r} is there already ({domains()[domain]}). Choose another name, or say overwrite=true to have it replaced.")
    file = user_path(path)
    brief = check_brief(read_text(file, DesignError, "Give a Markdown file with the brief."))
    return Draft(domain, brief, f"designs/{domain}-{fingerprint(brief)}", open_store())


async def draft(run: Run, made: Draft) -> None:
    """Read the brief for contradictions, then write what is not there yet of the pack.

    Raises:
        SettingsError: nobody is named who designs. DesignError: the brief contradicts itself, or a file does not come into its form.
    """
    numbers = run.settings.design
    async with turn(run, ("designer",)):
        designer = await _designer(run, made)
        if (kept := made.read(READING)) is None:
            reading = await designer.read_brief()
            made.save(READING, reading.model_dump_json(indent=2))
        else:
            reading = BriefReading.model_validate_json(kept)
        if numbers.contradictions == "refuse":
            check_reading(reading)
        await draft_pack(designer, made.domain, made.read, made.save)
    get_run_logger().info("Drafted: %s/%s", made.store.root, made.folder)
    log_bill(run)


async def criticise(run: Run, made: Draft) -> list[Finding]:
    """Have the pack's experts review what was drafted, and each finding applied or declined with a reason; what was decided before is kept."""
    if not run.settings.design.critique:
        return []
    reviews = Reviews.validate_json(made.read(REVIEWS) or "{}")
    decided = [Finding.model_validate(item) for item in json.loads(made.read(CRITIQUE) or "[]")]
    with made.unpacked() as root:
        files, experts = pack_files(root, made.domain), load_pack(made.domain, root).experts

    def keep() -> None:
        made.save(REVIEWS, Reviews.dump_json(reviews, indent=2).decode())
        made.store.write_json(f"{made.folder}/{CRITIQUE}", [finding.model_dump() for finding in decided])

    async with turn(run, ("designer",)):
        designer = await _designer(run, made)
        found = await review(designer, files, experts, reviews, keep)
        for name in dict.fromkeys(finding.file for finding in found if finding.file not in {item.file for item in decided}):
            about = [finding for finding in found if finding.file == name]
            if name in files:
                text, told = await revise(designer, name, files[name], about, lambda new, name=name: made.check_changed(name, new))
                made.save(place_of(name, made.domain), text)
            else:  # to be added, or between files
                told = [finding.model_copy(update={"applied": False, "reason": FOR_A_PERSON}) for finding in about]
            decided += told
            keep()
    log_bill(run)
    return decided


async def _designer(run: Run, made: Draft) -> Designer:
    if not run.models.get("designer"):
        raise SettingsError("roles.designer is null, so nobody drafts. Name the strongest model that you have.")
    numbers = run.settings.design
    return Designer(await open_model(run.model("designer")), made.brief, made.domain, numbers.attempts, numbers.max_tokens)


async def publish_design(run: Run, made: Draft, findings: list[Finding], install: bool) -> DesignRef:
    """Load the draft as a pack, say what it lacks, and install it when asked."""
    with made.unpacked() as root:
        pack = load_pack(made.domain, root)
        lacking = review_pack(pack)
    place = _install(made) if install else None
    facts = {
        "caveat": (await _designer(run, made)).model.caveat,
        "domain": made.domain,
        "ready": READY_PASS_RATE,
        "folder": f"{made.store.root}/{made.folder}",
        "installed": place,
        "pack": pack,
        "lacking": lacking,
        "findings": findings,
        "reading": BriefReading.model_validate_json(made.read(READING) or '{"contradictions": [], "open": []}'),
        "bills": bills(made.store, run.ledger.run),
        "variable": PACKS_VARIABLE,
    }
    text = markdown("design", facts=facts)
    page = made.store.write(f"{made.folder}/design.md", text)
    await publish_report(text, key=f"design-{made.domain}", description=f"The pack {made.domain}, drafted from its brief")
    applied = sum(finding.applied is True for finding in findings)
    summary = {
        "pack": place or f"{facts['folder']} (not installed: install=true)",
        "criteria": f"{len(pack.rubric.criteria)}, {sum(item.head.gate for item in pack.rubric.criteria.values())} of them gates",
        "findings": f"{len(findings)}, {applied} applied",
        "lacking": str(len(lacking)),
        "cost": str(run.ledger.bill),
        "report": f"{made.store.root}/{page}",
    }
    return DesignRef(path=f"{made.folder}/design.md", summary=summary)


def _install(made: Draft) -> str:
    """Put the pack among those that are loaded; one that is replaced is kept beside it."""
    root = project_path(os.environ.get(PACKS_VARIABLE) or project_folder())
    for place in _folders(made.domain, root):
        if place.exists():
            shutil.rmtree(place.with_name(f".{place.name}.before"), ignore_errors=True)
            place.rename(place.with_name(f".{place.name}.before"))
    made.unpack(root)
    return str(root / "config/domains" / made.domain)


def _folders(domain: str, root: Path) -> tuple[Path, Path]:
    """Return the two folders of a pack below a root; nothing else is written when it is installed."""
    return root / "config/domains" / domain, root / "prompts" / domain
