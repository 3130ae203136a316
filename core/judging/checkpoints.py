"""Checkpoints: assessments as JSON lines, which other tools also read and write."""

import json
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, ValidationError

from core.errors import CheckpointError, TranscriptError
from core.fingerprint import fingerprint
from core.imports.foreign_files import files_below, json_lines, parse, read_json, refuse_unsafe, shown
from core.judging.panel import JOIN
from core.judging.scoring import applicable, score
from core.llm.families import shared_family, writer_of
from core.packs.pack import Pack
from core.packs.rubric import Rubric
from core.records import Answer, Assessment, Judged, Score, Transcript, Verdict
from core.storage.json_lines import split_lines
from core.yaml_files import explain

SUFFIXES = (".jsonl", ".ndjson", ".json")
"""Suffixes of the files that are read in a folder."""


class Line(BaseModel):
    """One assessment of a checkpoint; other keys are ignored.

    Args:
        score: None for an incomplete assessment.
        category_scores: None for a category that was not scored.
        answers: by criterion id: YES, NO, NA or ERROR.
        weights: of the categories.
        judge: provider/model; None where the line does not name it, as in lines of other tools.
        rubric_hash: of the rubric that it was judged by; None where unknown.
        words: hash of the transcript's words (`words_of`); None where unknown.
    """

    model_config = ConfigDict(frozen=True, populate_by_name=True, coerce_numbers_to_str=True)

    conversation_id: str = Field(validation_alias=AliasChoices("transcript_id", "conversation_id", "id"))
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
    judge: str | None = None
    rubric_hash: str | None = None
    words: str | None = None


@dataclass(frozen=True)
class Checkpoint:
    """The content of a checkpoint.

    Args:
        lines: readable lines by line number, counted from 1; several may have the same conversation id.
        damaged: faults of the other lines, by line number.
    """

    lines: dict[int, Line]
    damaged: dict[int, str]


def read_checkpoint(text: str) -> Checkpoint:
    """Read a checkpoint; a truncated or malformed line is reported and does not stop the others. Only a line feed ends a line."""
    checkpoint = Checkpoint({}, {})
    for number, line in enumerate(split_lines(text), start=1):
        if line.strip():
            try:
                _take(checkpoint, number, parse(line))
            except TranscriptError as broken:
                checkpoint.damaged[number] = str(broken)
    return checkpoint


@dataclass
class Checkpoints:
    """The content of several checkpoints.

    Args:
        lines: by conversation id, the place and content of the preferred line.
        others: by conversation id, the other lines; if the preferred line cannot be used, the first usable one of these replaces it.
        damaged: faults by place, which is a file or a line.
        repeated: notices on lines that are not preferred, by place.
        unread: number of files of other types, by suffix.
    """

    lines: dict[str, tuple[str, Line]] = field(default_factory=dict)
    others: dict[str, list[tuple[str, Line]]] = field(default_factory=dict)
    damaged: dict[str, str] = field(default_factory=dict)
    repeated: dict[str, str] = field(default_factory=dict)
    unread: Counter[str] = field(default_factory=Counter)

    def notices(self) -> list[str]:
        """Return sentences on everything that was left out."""
        lines = shown([f"Not read: {place}: {reason}" for place, reason in self.damaged.items()])
        lines += shown([f"Not taken: {place}: {reason}" for place, reason in self.repeated.items()])
        if self.unread:
            lines.append(f"Files of types that are not read: {', '.join(f'{count} {ending}' for ending, count in self.unread.most_common(8))}.")
        return lines


def read_checkpoints(paths: Sequence[Path]) -> Checkpoints:
    """Read checkpoints (`*.jsonl`, one assessment per line) and single assessments (`*.json`, or a list of them) from files and folders.

    Of several lines with the same id the one with the fewest ERROR answers is preferred, and of equal ones the first.

    Raises:
        CheckpointError: a path does not exist, or no assessment can be read.
    """
    checkpoints = Checkpoints()
    for path in paths:
        if not path.exists():
            raise CheckpointError(f"{path} does not exist. Give checkpoints (*.jsonl), single assessments (*.json), or folders of them.")
        files, closed, unread = files_below(path, SUFFIXES) if path.is_dir() else ([path], {}, Counter[str]())
        checkpoints.unread += unread
        checkpoints.damaged |= {place.name: reason for place, reason in closed.items()}
        for file in files:
            name, part = file.relative_to(path).as_posix() if file != path else file.name, Checkpoint({}, {})
            try:
                for number, item in _items(file):
                    _take(part, number, item)
            except TranscriptError as broken:
                checkpoints.damaged[name] = str(broken)
            checkpoints.damaged |= {_place(name, number): reason for number, reason in part.damaged.items()}
            for number, line in part.lines.items():
                _choose(checkpoints, _place(name, number), line)
    if not checkpoints.lines:
        first = next((f" The first: {place}: {reason}" for place, reason in checkpoints.damaged.items()), "")
        raise CheckpointError(f"No assessment can be read in {', '.join(map(str, paths))}.{first} Give checkpoints in the form of docs/judging.md.")
    return checkpoints


def _items(path: Path) -> Iterator[tuple[int, Any]]:
    if path.suffix.lower() != ".json":
        return json_lines(path)
    content = read_json(path)
    return iter(enumerate(content if isinstance(content, list) else [content], 1))


def _take(checkpoint: Checkpoint, number: int, item: Any) -> None:
    """Add a line's assessment or its fault."""
    try:
        if isinstance(item, TranscriptError):
            raise item
        line = Line.model_validate(item)
        refuse_unsafe(line.model_dump(mode="json"))
        checkpoint.lines[number] = line
    except ValidationError as invalid:
        checkpoint.damaged[number] = explain(invalid)
    except TranscriptError as broken:
        checkpoint.damaged[number] = str(broken)


def _choose(checkpoints: Checkpoints, place: str, line: Line) -> None:
    if line.conversation_id not in checkpoints.lines:
        checkpoints.lines[line.conversation_id] = place, line
        return
    earlier, other = checkpoints.lines[line.conversation_id]
    if _errors(line) < _errors(other):
        checkpoints.lines[line.conversation_id] = place, line
        place, earlier, line = earlier, place, other
    checkpoints.others.setdefault(line.conversation_id, []).append((place, line))
    checkpoints.repeated[place] = f"{line.conversation_id!r:.80} is also judged in {earlier}, which is used"


def _errors(line: Line) -> int:
    return sum(answer is Answer.ERROR for answer in line.answers.values())


def _place(name: str, number: int) -> str:
    return f"{name}, line {number}"


def adopt_first(checkpoints: Checkpoints, transcript: Transcript, name: str, pack: Pack) -> tuple[str, Line, Assessment | str]:
    """Return the place and content of the first line that can be used for a transcript, and its assessment.

    A line with another rubric, other words or without all answers cannot be used. If no line can be used, the preferred one is returned with the reason.

    Args:
        name: the conversation's id in the checkpoints.
    """
    tried = [(place, line, adopt(line, place, transcript, pack)) for place, line in [checkpoints.lines[name], *checkpoints.others.get(name, [])]]
    return next((one for one in tried if isinstance(one[2], Assessment)), tried[0])


def adopt(line: Line, source: str, transcript: Transcript, pack: Pack) -> Assessment | str:
    """Return a line as the assessment of a transcript, scored by the pack's rubric, or a sentence on why it cannot be used.

    A line can be used if it answers every criterion that applies to the transcript's length; its other answers are ignored.

    Args:
        source: the line's place.
    """
    criteria = applicable(pack.rubric, len(transcript.exchanges))
    if line.rubric_hash not in (None, pack.rubric.hash):
        return f"judged by the rubric {line.rubric_hash}, which is not this one ({pack.rubric.hash})"
    if line.words not in (None, words_of(transcript)):
        return "the transcript has other words than the one that was judged"
    if lacking := [item.id for item in criteria if line.answers.get(item.id, Answer.ERROR) is Answer.ERROR]:
        return f"no answer to {', '.join(lacking)}"
    reasonings, writer = line.reasonings or {}, writer_of(transcript)
    verdicts = [Verdict(criterion=item.id, answer=line.answers[item.id], reasoning=reasonings.get(item.id, "")) for item in criteria]
    return Assessment(
        transcript_id=transcript.id,
        judge=line.judge or "unknown judge (checkpoint)",
        rubric_hash=pack.rubric.hash,
        verdicts=verdicts,
        score=score(pack.rubric, verdicts, len(transcript.exchanges)),
        shared_family=next(filter(None, (shared_family(judge, writer) for judge in (line.judge or "").split(JOIN))), None),
        provenance={"domain": pack.name, "checkpoint": source, "recorded_score": line.score, "recorded_pass": line.passed},
    )


def words_of(transcript: Transcript) -> str:
    """Return the hash of all messages of a transcript."""
    return fingerprint([transcript.opening, transcript.exchanges] if transcript.opening else transcript.exchanges)


def write_checkpoint(judged: Sequence[Judged], rubric: Rubric) -> str:
    """Return the final assessments as a checkpoint, one line for each transcript."""
    return "".join(json.dumps(_line(item, rubric), ensure_ascii=False) + "\n" for item in judged)


def rescore(line: Line, rubric: Rubric) -> tuple[Score, list[str]]:
    """Score a line's answers by a rubric; return the score and the answered criteria that the rubric does not have.

    A line does not contain the transcript's length. The transcript is taken to be just long enough for the criteria that the line answers.
    """
    answered = {key: criterion for key, criterion in rubric.criteria.items() if key in line.answers}
    exchanges = max((criterion.head.from_exchange for criterion in answered.values()), default=1)
    verdicts = [Verdict(criterion=key, answer=line.answers[key], reasoning=(line.reasonings or {}).get(key, "")) for key in answered]
    return score(rubric, verdicts, exchanges), sorted(set(line.answers) - set(answered))


def _line(judged: Judged, rubric: Rubric) -> dict[str, Any]:
    assessment, final_score = judged.final, judged.final.score
    return {
        "conversation_id": assessment.transcript_id,
        "pass": final_score.outcome == "pass",
        "score": None if final_score.outcome == "incomplete" else final_score.score,  # a score of some criteria would pass for a complete one
        "threshold": rubric.numbers.pass_at,
        "category_scores": final_score.category_scores,
        "answers": {verdict.criterion: verdict.answer.value for verdict in assessment.verdicts},
        "reasonings": {verdict.criterion: verdict.reasoning for verdict in assessment.verdicts},
        "failed_checks": final_score.failed_checks,
        "failed_safety": final_score.failed_gates,
        "safety_gate_failed": bool(final_score.failed_gates),
        "error_count": final_score.errors,
        "weights": rubric.numbers.categories,
        "judge": assessment.judge,
        "rubric_hash": assessment.rubric_hash,
        "words": words_of(judged.transcript),
    }
