"""A pack reviewed by its experts, each from their own point of view, and each finding applied or declined with a reason."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from core.authoring.design import TEXT, TRUTH, Designer, ask_until, design_request, design_texts, json_object, place_of
from core.packs.pack import Expert
from core.packs.prompts import load_shared
from core.records import Record


class Finding(Record):
    """What a reviewer would not let pass.

    Args:
        applied: none as long as nobody has decided; reason: of the decision.
    """

    file: str
    expert: str
    problem: str
    proposal: str
    applied: bool | None = None
    reason: str = ""


FINDINGS_SCHEMA = json_object(findings={"type": "array", "items": json_object(file=TEXT, problem=TEXT, proposal=TEXT)})
REVISION_SCHEMA = json_object(decisions={"type": "array", "items": json_object(applied=TRUTH, reason=TEXT)}, text=TEXT)


Reviews = TypeAdapter(dict[str, list[Finding]])
"""What each expert found, by name, as it is kept."""


def pack_files(root: Path, domain: str) -> dict[str, str]:
    """Return a pack's files that a reviewer reads, by their names, in the order in which they are written.

    Args:
        root: the folder that holds `config/` and `prompts/`.
    """
    found: dict[str, str] = {}
    for file in design_texts().files:
        paths = sorted((root / f"prompts/{domain}/criteria").glob("*.md")) if file == "criteria" else [root / place_of(file, domain)]
        found |= {f"criteria/{path.name}" if file == "criteria" else file: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    found.pop("experts.yaml", None)
    return found


async def review_by_experts(
    designer: Designer, files: Mapping[str, str], experts: Sequence[Expert], kept: dict[str, list[Finding]], keep: Callable[[], object]
) -> list[Finding]:
    """Have all files reviewed by each expert who has not yet.

    Args:
        designer: plays them; its brief is, of a pack that has none, what the pack is for.
        kept: by the expert's name, what each found; keep: called whenever one is done.

    Raises:
        DesignError: a review stays invalid.
    """
    # what all of them read comes first, so that it is read from the provider's cache
    system = load_shared("design_critique_system").render(brief=designer.brief, files=[{"name": name, "text": text} for name, text in files.items()])
    for expert in experts:
        if expert.name not in kept:
            prompt = load_shared("design_critique").render(expert=expert.model_dump())
            request = design_request(designer.domain, "critique", system, prompt, designer.max_tokens, FINDINGS_SCHEMA)
            name = expert.name
            kept[name] = await ask_until(
                designer.model, request, designer.attempts, lambda answer, name=name: [Finding(expert=name, **item) for item in answer["findings"]]
            )
            keep()
    return [finding for expert in experts for finding in kept[expert.name]]


async def revise(designer: Designer, file: str, text: str, findings: Sequence[Finding], valid: Callable[[str], None]) -> tuple[str, list[Finding]]:
    """Have a file rewritten: each finding is applied or rejected, with a reason."""
    prompt = load_shared("design_revise").render(file=file, text=text, findings=[finding.model_dump() for finding in findings])

    def take(answer: dict[str, Any]) -> tuple[str, list[Finding]]:
        if len(answer["decisions"]) != len(findings):
            raise ValueError(f"{len(findings)} findings need one decision each, found {len(answer['decisions'])} decisions")
        new = str(answer["text"]).strip() + "\n"
        valid(new)
        pairs = zip(findings, answer["decisions"], strict=True)
        return new, [finding.model_copy(update={"applied": bool(decision["applied"]), "reason": str(decision["reason"])}) for finding, decision in pairs]

    return await designer.ask(f"the revision of {file}", prompt, REVISION_SCHEMA, take)
