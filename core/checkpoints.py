"""Checkpoints: assessments as JSON lines that other tools read and write, the forerunner's form."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from core.pack import Rubric
from core.records import Answer, Assessment, Score, Verdict
from core.scoring import score
from core.yaml_files import explain


class Line(BaseModel):
    """One assessment of a checkpoint; keys beside these are let through unread.

    Args:
        answers: by criterion id: YES, NO, NA or ERROR.
        category_scores: none for a category that was not scored.
        weights: of the categories.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True)

    conversation_id: str
    passed: bool = Field(alias="pass")
    score: float | None
    threshold: float
    category_scores: dict[str, float | None]
    answers: dict[str, Answer]
    reasonings: dict[str, str] | None = None
    failed_checks: list[str] | None = None
    failed_safety: list[str] | None = None
    safety_gate_failed: bool = False
    error_count: int = 0
    weights: dict[str, float] = Field(default_factory=dict)


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Args:
        lines: the readable ones, in order; several may have the same id.
        damaged: by line number, counted from 1, what is wrong with the others.
    """

    lines: list[Line]
    damaged: dict[int, str]


def read_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint; a line that is cut or malformed is reported and does not stop the others."""
    lines, damaged = [], {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            lines.append(Line.model_validate(json.loads(line)))
        except json.JSONDecodeError as broken:
            damaged[number] = f"not JSON ({broken.msg} at column {broken.colno} of {len(line)}); it may have been cut when it was written"
        except ValidationError as invalid:
            damaged[number] = explain(invalid)
    return Checkpoint(lines, damaged)


def write_checkpoint(assessments: Sequence[Assessment], rubric: Rubric) -> str:
    """Return assessments as a checkpoint, a line for each."""
    return "".join(json.dumps(_line(assessment, rubric), ensure_ascii=False) + "\n" for assessment in assessments)


def rescore(line: Line, rubric: Rubric) -> tuple[Score, list[str]]:
    """Score a line's answers by a rubric; return the score and the criteria that the line answers and the rubric does not have.

    A line does not tell how long its transcript is: it is taken to be as long as the criteria that it answers ask for.
    """
    known = {key: criterion for key, criterion in rubric.criteria.items() if key in line.answers}
    exchanges = max((criterion.head.from_exchange for criterion in known.values()), default=1)
    verdicts = [Verdict(criterion=key, answer=line.answers[key], reasoning=(line.reasonings or {}).get(key, "")) for key in known]
    return score(rubric, verdicts, exchanges), sorted(set(line.answers) - set(known))


def _line(assessment: Assessment, rubric: Rubric) -> dict[str, Any]:
    found = assessment.score
    return {
        "conversation_id": assessment.transcript_id,
        "pass": found.outcome == "pass",
        "score": found.score,
        "threshold": rubric.numbers.pass_at,
        "category_scores": found.category_scores,
        "answers": {verdict.criterion: verdict.answer.value for verdict in assessment.verdicts},
        "reasonings": {verdict.criterion: verdict.reasoning for verdict in assessment.verdicts},
        "failed_checks": found.failed_checks,
        "failed_safety": found.failed_gates,
        "safety_gate_failed": bool(found.failed_gates),
        "error_count": found.errors,
        "weights": rubric.numbers.categories,
    }
