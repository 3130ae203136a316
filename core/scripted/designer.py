"""The scripted designer: replies of the right form, with the files of an included pack."""

import json
import random
import re
from pathlib import Path
from typing import Any

from core.llm.chat import ChatRequest
from core.packs.prompts import read_front_matter
from core.paths import SHIPPED
from core.scripted.assistant import RULES

PACK = "coding-mentor"


def designed(request: ChatRequest) -> str:
    """Return a designer's reply as JSON, by the request's input `what`.

    A file is the included pack's. An expert has one finding, and a revision applies the first finding. A better prompt is the old one with another rule.
    """
    what = str(request.inputs["what"])
    if what == "a better prompt":
        text = str(request.inputs["text"])
        rule = random.Random(request.seed).choice([rule for rule in RULES if rule not in text] or ["Be kind."])
        return json.dumps({"changes": [f"It says: {rule}"], "text": f"{text}\n\n{rule}"})
    if what == "critique":
        return json.dumps({"findings": [{"file": "system.md", "problem": "It does not mention languages.", "proposal": "Say in which language it answers."}]})
    if what == "the reading of the brief":
        return json.dumps({"contradictions": _contradictions(request.messages[0].content), "open": ["In which languages does it answer?"]})
    if what == "criteria":
        return json.dumps({"criteria": [_criterion(path) for path in sorted((SHIPPED / f"prompts/{PACK}/criteria").glob("*.md"))]})
    if what.startswith("the revision of "):
        count = len(re.findall(r"^\d+\. \(", request.messages[0].content, re.MULTILINE))
        text = request.messages[0].content.partition("<file>\n")[2].partition("\n</file>")[0].rstrip()
        decisions = [{"applied": number == 0, "reason": "Scripted."} for number in range(count)]
        return json.dumps({"decisions": decisions, "text": f"{text}\nAnswer in the language of the message."})
    folder = f"prompts/{PACK}" if what.endswith(".md") and what != "intended-use.md" else f"config/domains/{PACK}"
    return json.dumps({"text": (SHIPPED / folder / what).read_text(encoding="utf-8")})


def _contradictions(brief: str) -> list[dict[str, str]]:
    """Return the contradictions of a brief: phrases that follow both "always" and "never"."""
    always, never = (dict.fromkeys(re.findall(rf"\b{word} ([^.;\n]+)", brief, re.IGNORECASE)) for word in ("always", "never"))
    return [{"one": f"always {what}", "other": f"never {what}", "why": "Scripted."} for what in always if what in never]


def _criterion(path: Path) -> dict[str, Any]:
    front, text = read_front_matter(path)
    slug = path.stem.partition("-")[2]
    clauses = [{"id": name, "meaning": meaning} for name, meaning in front.get("clauses", {}).items()]
    return {"category": "", "gate": False, "from_exchange": 1, **front, "clauses": clauses, "slug": slug, "text": text}
