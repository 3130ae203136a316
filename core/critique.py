"""A pack reviewed by its experts, each from their own point of view, and each finding applied or declined with a reason."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from core.chat import ChatModel, ChatRequest, Message
from core.design import TEXT, TRUTH, Designer, design_texts, json_object, parsed_object, place_of
from core.fingerprint import seed_of
from core.pack import Expert
from core.prompts import load_shared
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


async def review(model: ChatModel, brief: str, domain: str, files: Mapping[str, str], experts: Sequence[Expert], max_tokens: int) -> list[Finding]:
    """Have every file reviewed by each expert.

    Args:
        brief: or, of a pack that has none, what it is for.
    """
    found, shown = [], [{"name": name, "text": text} for name, text in files.items()]
    for expert in experts:
        prompt = load_shared("design_critique").render(expert=expert.model_dump(), brief=brief, files=shown)
        seed = seed_of("critique", domain, expert.name)
        reply = await model.complete(
            ChatRequest("designer", "", (Message("user", prompt),), max_tokens, seed, FINDINGS_SCHEMA, item=f"design-{domain}", inputs={"what": "critique"})
        )
        found += [Finding(expert=expert.name, **item) for item in parsed_object(reply.text)["findings"]]
    return found


async def revise(designer: Designer, file: str, text: str, findings: Sequence[Finding], valid: Callable[[str], None]) -> tuple[str, list[Finding]]:
    """Have a file written anew with those findings that are applied; each is decided with a reason."""
    prompt = load_shared("design_revise").render(file=file, text=text, findings=[finding.model_dump() for finding in findings])

    def take(answer: dict[str, Any]) -> tuple[str, list[Finding]]:
        if len(answer["decisions"]) != len(findings):
            raise ValueError(f"{len(findings)} findings need as many decisions, found {len(answer['decisions'])}")
        new = str(answer["text"]).strip() + "\n"
        valid(new)
        pairs = zip(findings, answer["decisions"], strict=True)
        return new, [finding.model_copy(update={"applied": bool(told["applied"]), "reason": str(told["reason"])}) for finding, told in pairs]

    return await designer.ask(f"the revision of {file}", prompt, REVISION_SCHEMA, take)
