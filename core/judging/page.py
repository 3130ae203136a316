"""The page of a batch of assessments: every conversation next to its verdicts, in one HTML file with filters and links."""

import base64
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from markupsafe import Markup

from core.escaping import embedded, page_tokens, render_page
from core.packs.openings import exchanges_with_greeting
from core.packs.pack import Pack
from core.packs.rubric import Rubric
from core.records import Assessment, Judged, Opinion, Transcript, Verdict


def assessment_page(pack: Pack, judged: Sequence[Judged], summary: str, blind: bool = False) -> str:
    """Return one self-contained HTML page: the conversations of a batch, each next to its verdicts.

    The text of transcripts and verdicts is embedded as JSON and shown as text. The order of the transcripts is kept.

    Args:
        summary: safe HTML for the top of the page; for a blind page it must not reveal any verdict.
        blind: whether the page is for a person who judges without knowing the verdicts. It then shows the criteria in full instead of the verdicts, and
            contains nothing of any judge.
    """
    judges = [] if blind else list(dict.fromkeys(judge for item in judged for judge in item.by_judge))
    panel = judges if len(judges) > 1 else []
    views = [[item.final, *(item.by_judge.get(judge) for judge in panel)] for item in judged]
    index = {
        "blind": blind,
        "criteria": _criteria(pack.rubric),
        "weights": pack.rubric.numbers.categories,
        "passAt": pack.rubric.numbers.pass_at,
        "judges": panel,
        "transcripts": [
            {"id": item.transcript.id, "exchanges": len(item.transcript.exchanges), "results": [] if blind else [_result(view) for view in results]}
            for item, results in zip(judged, views, strict=True)
        ],
    }
    script = "\n".join(Path(__file__).with_name(name).read_text(encoding="utf-8") for name in ("page_verdicts.js", "page.js"))
    return render_page(
        "judging/page",
        domain=pack.name,
        summary=Markup(summary),
        blind=blind,
        panel=panel,
        criteria=pack.rubric.criteria.values(),
        index=embedded(index),
        conversations=[embedded(_conversation(item.transcript)) for item in judged],
        findings=[] if blind else [embedded(_findings(results)) for results in views],
        style=Markup(page_tokens() + Path(__file__).with_name("page.css").read_text(encoding="utf-8")),
        script=Markup(script),
        script_hash="sha256-" + base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
    )


def _criteria(rubric: Rubric) -> list[dict[str, Any]]:
    return [
        {"id": item.id, "name": item.head.name, "category": item.head.category, "na": item.head.na, "from": item.head.from_exchange, "text": item.text}
        for item in rubric.criteria.values()
    ]


def _conversation(transcript: Transcript) -> list[tuple[int, str, str]]:
    return [(exchange["exchange_number"], exchange["user"], exchange["assistant"]) for exchange in exchanges_with_greeting(transcript)]


def _result(assessment: Assessment | None) -> dict[str, Any] | None:
    """Return the parts of an assessment that the list shows and the filters use."""
    if assessment is None:
        return None
    score = assessment.score
    return {
        "outcome": score.outcome,
        "score": score.score,
        "failedGates": score.failed_gates,
        "errors": score.errors,
        "answers": {verdict.criterion: verdict.answer for verdict in assessment.verdicts},
    }


def _findings(assessments: Sequence[Assessment | None]) -> dict[str, Any]:
    """Return the verdicts of a transcript, with each text stored once, because a panel's decision repeats its judges' texts."""
    texts: dict[str, int] = {}

    def opinion(answer: Opinion | Verdict) -> dict[str, Any]:
        return {"answer": answer.answer, "reasoning": texts.setdefault(answer.reasoning, len(texts)), "cited": answer.cited}

    def verdict(criterion_verdict: Verdict) -> dict[str, Any]:
        return {
            "criterion": criterion_verdict.criterion,
            **opinion(criterion_verdict),
            "lapses": [f"[{item.exchange}] {item.weight}: {item.what}" for item in criterion_verdict.lapses],
            "stated": criterion_verdict.stated,
            "opinions": [{"judge": item.judge, **opinion(item)} for item in criterion_verdict.opinions],
        }

    def findings(assessment: Assessment | None) -> dict[str, Any] | None:
        if assessment is None:
            return None
        return {
            "judge": assessment.judge,
            "caveat": assessment.caveat,
            "sharedFamily": assessment.shared_family,
            "categories": assessment.score.category_scores,
            "failedChecks": assessment.score.failed_checks,
            "verdicts": [verdict(item) for item in assessment.verdicts],
        }

    return {"views": [findings(item) for item in assessments], "texts": list(texts)}
