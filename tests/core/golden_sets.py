"""Short golden conversations and a judge's answers to them."""

import json
from typing import Any

from core.judging.golden import Golden, GoldenFile
from core.judging.scoring import applicable, score
from core.packs.pack import Pack
from core.records import Answer, Assessment, Verdict


def golden_file(
    pack: Pack,
    name: str,
    exchanges: int = 3,
    held_out: bool = False,
    close: Any = (),
    lapses: Any = (1,),
    disputed: Any = (),
    user: str = "Message",
    **answers: str,
) -> dict[str, Any]:
    """All answers are YES unless stated otherwise."""
    due = [criterion.id for criterion in applicable(pack.rubric, exchanges)]
    labels = {criterion: answers.get(criterion, "YES") for criterion in due}
    verdicts: dict[str, dict[str, Any]] = {criterion: {"answer": answer} for criterion, answer in labels.items()}
    for criterion, verdict in verdicts.items():
        if verdict["answer"] == "NO" or criterion in close:
            verdict |= {"reason": f"{criterion} of {name} says why.", "exchanges": list(lapses), "close": criterion in close}
    other = labels | {criterion: "NO" if labels[criterion] == "YES" else "YES" for criterion in disputed}
    said = [{"user": f"{user} {number} of {name}.", "assistant": f"Answer {number}."} for number in range(1, exchanges + 1)]
    return {
        "title": name, "provenance": "written for a test", "held_out": held_out, "exchanges": said,
        "verdicts": verdicts, "labels": {"writer": labels, "reader": other}, "disputed": list(disputed),
    }  # fmt: skip


def golden(pack: Pack, name: str, **more: Any) -> Golden:
    return Golden(name, GoldenFile.model_validate_json(json.dumps(golden_file(pack, name, **more))))


def judged(pack: Pack, item: Golden, judge: str = "a/judge", **answers: str) -> Assessment:
    """A judge that gives the golden verdicts unless stated otherwise."""
    given = {name: Answer(answers.get(name, verdict.answer)) for name, verdict in item.file.verdicts.items()}
    verdicts = [Verdict(criterion=name, answer=answer, reasoning=f"{name} read.") for name, answer in given.items()]
    scored = score(pack.rubric, verdicts, len(item.file.exchanges))
    return Assessment(transcript_id=item.id, judge=judge, rubric_hash=pack.rubric.hash, verdicts=verdicts, score=scored)
