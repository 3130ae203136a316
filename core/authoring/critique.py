"""The review of a pack by its experts, each from their own point of view, and the revision that applies or rejects each finding with a reason."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter

from core.authoring.design import TEXT, TRUTH, Designer, ask_until, design_request, design_texts, json_object, place_of
from core.packs.pack import Expert
from core.packs.prompts import load_shared
from core.records import Record


class Finding(Record):
    """A fault that a reviewer found.

    Args:
        applied: whether a revision applied the proposal; None before the decision.
        reason: of the decision.
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
"""The stored form of the experts' findings, by expert's name."""


def pack_files(root: Path, domain: str) -> dict[str, str]:
    """Return the texts of the files of a pack that a reviewer reads, by name, in the order in which they are written.

    Args:
        root: the folder that contains `config/` and `prompts/`.
    """
    texts: dict[str, str] = {}
    for file in design_texts().files:
        paths = sorted((root / f"prompts/{domain}/criteria").glob("*.md")) if file == "criteria" else [root / place_of(file, domain)]
        texts |= {f"criteria/{path.name}" if file == "criteria" else file: path.read_text(encoding="utf-8") for path in paths if path.is_file()}
    texts.pop("experts.yaml", None)
    return texts


async def review_by_experts(
    designer: Designer, files: Mapping[str, str], experts: Sequence[Expert], kept: dict[str, list[Finding]], keep: Callable[[], object]
) -> list[Finding]:
    """Have all files reviewed by each expert who has not reviewed them yet, and return all findings.

    Args:
        designer: plays the experts; for a pack without a brief, its brief is the pack's intended use.
        files: texts by name.
        kept: findings by expert's name; the new ones are added to it.
        keep: called after each review, to store `kept`.

    Raises:
        DesignError: a review stays invalid.
    """
    # the part that all experts read comes first, so that the provider's prompt cache serves it
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
    """Have a file rewritten, and return the new text and the findings, each applied or rejected with a reason.

    Args:
        valid: raises an error if the new text cannot be used.

    Raises:
        DesignError: the revision stays invalid.
    """
    prompt = load_shared("design_revise").render(file=file, text=text, findings=[finding.model_dump() for finding in findings])

    def take(answer: dict[str, Any]) -> tuple[str, list[Finding]]:
        if len(answer["decisions"]) != len(findings):
            raise ValueError(f"{len(findings)} findings need one decision each, found {len(answer['decisions'])} decisions")
        new = str(answer["text"]).strip() + "\n"
        valid(new)
        pairs = zip(findings, answer["decisions"], strict=True)
        return new, [finding.model_copy(update={"applied": bool(decision["applied"]), "reason": str(decision["reason"])}) for finding, decision in pairs]

    return await designer.ask(f"the revision of {file}", prompt, REVISION_SCHEMA, take)
