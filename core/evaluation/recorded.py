"""Assessments of an evaluation that was played and judged elsewhere, read from a folder."""

import re
from pathlib import Path

from pydantic import ValidationError

from core.errors import EvaluationError, TranscriptError
from core.evaluation.facts import Conversation
from core.evaluation.outcomes import Trial
from core.imports.foreign_files import read_json, refuse_unsafe
from core.imports.transcript_files import read_transcript
from core.judging.checkpoints import Line
from core.records import Answer, Assessment, Outcome, Score, Verdict
from core.yaml_files import explain

NAME = re.compile(r"(?P<arm>.+)_seed(?P<persona>[0-9]{1,18})_run(?P<trial>[0-9]{1,18})")
FORM = "<arm>_seed<persona>_run<trial>.json"


def read_recorded(folder: Path) -> list[Trial]:
    """Read every `<arm>_seed<persona>_run<trial>.json` of a folder, an assessment in the form of a checkpoint's line; scores and passes are taken as recorded.

    A file that does not fit is a conversation that was lost, with the reason; one of another name is none (`misnamed`).

    Raises:
        EvaluationError: there is no such folder, or no file in it fits; they are counted, and the first is explained.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder. Give the folder that holds the assessments ({FORM}).")
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise EvaluationError(f"{folder} holds no *.json. Give the folder that holds the assessments ({FORM}).")
    read = {path: _read(path) for path in paths}
    wrong = {path: outcome for path, outcome in read.items() if isinstance(outcome, str)}
    if len(wrong) == len(paths):
        path, reason = next(iter(wrong.items()))
        raise EvaluationError(f"{folder}: {len(wrong)} of {len(paths)} files are not valid. The first, {path.name}: {reason}. Correct or remove them.")
    return [outcome if isinstance(outcome, Trial) else _lost(path, outcome) for path, outcome in read.items() if NAME.fullmatch(path.stem)]


def misnamed(folder: Path) -> list[str]:
    """Return the names of the files in a folder of recorded assessments that tell no arm, persona and trial."""
    return [path.name for path in sorted(folder.glob("*.json")) if not NAME.fullmatch(path.stem)]


def judges_recorded(folder: Path) -> set[str]:
    """Return the judges that the files of a folder of recorded assessments name; a file that does not fit names none."""
    paths = [path for path in folder.glob("*.json") if not isinstance(_read(path), str)]
    return {judge for path in paths if (judge := Line.model_validate(read_json(path)).judge)}


def recorded_conversations(folder: Path, transcripts: Path) -> tuple[list[Conversation], dict[str, str]]:
    """Read what was said in recorded conversations, with their verdicts.

    Args:
        folder: as for `read_recorded`, which has read it.
        transcripts: a folder in which each transcript has the name of its assessment.

    Returns:
        The conversations by persona, trial and arm; and why others cannot be read, by name.
    """
    conversations, left_out = [], {}
    for path in sorted(folder.glob("*.json")):
        name = NAME.fullmatch(path.stem)
        if not name or isinstance(_read(path), str):  # it has no assessment, and is reported with those
            continue
        try:
            line = Line.model_validate(read_json(path))
            transcript = read_transcript(transcripts / path.name)
        except TranscriptError as error:
            left_out[path.stem] = str(error)
            continue
        reasonings = line.reasonings or {}
        verdicts = [Verdict(criterion=key, answer=answer, reasoning=reasonings.get(key, "")) for key, answer in line.answers.items()]
        judged = Assessment(transcript_id=transcript.id, judge=line.judge or "recorded", rubric_hash="", verdicts=verdicts, score=_score(line))
        conversations.append(Conversation(name["arm"], int(name["persona"]), int(name["trial"]), transcript, judged))
    return sorted(conversations, key=lambda item: (item.persona, item.trial, item.arm)), left_out


def _read(path: Path) -> Trial | str:
    """Return a conversation, or what is wrong with its file."""
    name = NAME.fullmatch(path.stem)
    if name is None:
        return f"its name is not of the form {FORM}"
    try:
        line = Line.model_validate(read_json(path))
        refuse_unsafe(line.model_dump(mode="json", exclude={"score", "category_scores"}))
    except TranscriptError as broken:
        return str(broken).rstrip(".")
    except ValidationError as invalid:
        return explain(invalid).rstrip(".")
    if line.conversation_id != path.stem:
        return f"it is of the conversation {line.conversation_id!r}, which is not its name"
    scores = {"score": line.score, **{f"category_scores.{category}": value for category, value in line.category_scores.items()}}
    for what, value in scores.items():
        if value is not None and not 0 <= value <= 1:
            return f"`{what}` is {value}; 0 to 1 is allowed"
    return Trial(
        arm=name["arm"],
        persona=int(name["persona"]),
        trial=int(name["trial"]),
        transcript_id=line.conversation_id,
        score=_score(line),
        answers=line.answers,
    )


def _lost(path: Path, reason: str) -> Trial:
    name = NAME.fullmatch(path.stem)
    assert name
    reason_lost = f"{path.name} does not fit: {reason}"
    return Trial(arm=name["arm"], persona=int(name["persona"]), trial=int(name["trial"]), transcript_id=path.stem, score=None, lost=reason_lost)


def _score(line: Line) -> Score:
    errors = max(line.error_count, sum(answer is Answer.ERROR for answer in line.answers.values()))
    judged = Outcome.PASS if line.passed else Outcome.FAIL
    return Score(
        outcome=Outcome.INCOMPLETE if errors or line.score is None else judged,
        score=line.score,
        category_scores={category: value for category, value in line.category_scores.items() if value is not None},
        failed_checks=line.failed_checks or [],
        failed_gates=line.failed_safety or [],
        errors=errors,
    )
