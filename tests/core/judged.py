"""Batches of assessed transcripts in which one line states the answers."""

from collections.abc import Mapping
from typing import Any

from core.judging.scoring import applicable, score
from core.packs.pack import load_pack
from core.records import Answer, Assessment, Exchange, Judged, Opinion, Transcript, Verdict

PACK = load_pack("therapeutic-coaching")
Answers = Mapping[str, str]


def conversation(name: str, exchanges: int = 5, user: str = "I slept badly.", assistant: str = "What kept you awake?") -> Transcript:
    said = [Exchange(exchange_number=number, user=f"{user} ({name} {number})", assistant=assistant) for number in range(1, exchanges + 1)]
    return Transcript(id=name, exchanges=said)


def assessment(transcript: Transcript, judge: str, answers: Answers, cited: Mapping[str, list[int]] | None = None, **more: Any) -> Assessment:
    """All criteria are YES except those named."""
    verdicts = [
        Verdict(criterion=item.id, answer=Answer(answers.get(item.id, "YES")), reasoning=f"{judge} on {item.id}.", cited=(cited or {}).get(item.id, []))
        for item in applicable(PACK.rubric, len(transcript.exchanges))
    ]
    return decided(transcript, judge, verdicts, **more)


def decided(transcript: Transcript, judge: str, verdicts: list[Verdict], **more: Any) -> Assessment:
    found = score(PACK.rubric, verdicts, len(transcript.exchanges))
    return Assessment(transcript_id=transcript.id, judge=judge, rubric_hash=PACK.rubric.hash, verdicts=verdicts, score=found, **more)


def single(transcript: Transcript, answers: Answers | None = None, cited: Mapping[str, list[int]] | None = None, **more: Any) -> Judged:
    found = assessment(transcript, "scripted/judge", answers or {}, cited, **more)
    return Judged(transcript=transcript, final=found, by_judge={found.judge: found})


def panel(transcript: Transcript, decision: Answers, **judges: Answers | None) -> Judged:
    """A judge with None has not judged this transcript."""
    own = {f"panel/{name}": assessment(transcript, f"panel/{name}", answers) for name, answers in judges.items() if answers is not None}
    verdicts = []
    for place, verdict in enumerate(assessment(transcript, "the panel", decision).verdicts):
        each = {name: item.verdicts[place] for name, item in own.items()}
        opinions = [Opinion(judge=name, answer=item.answer, reasoning=item.reasoning, cited=[2]) for name, item in each.items()]
        verdicts.append(verdict.model_copy(update={"opinions": opinions}))
    return Judged(transcript=transcript, final=decided(transcript, " + ".join(own), verdicts), by_judge=own)
