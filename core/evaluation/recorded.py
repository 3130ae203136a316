"""Reading of an evaluation that was played and judged elsewhere, from a folder of assessments."""

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
    """Read every `<arm>_seed<persona>_run<trial>.json` of a folder, each an assessment in the form of a checkpoint's line.

    Scores and passes are used as recorded. An invalid file gives a lost conversation with the reason. Files with other names are ignored (`misnamed`).

    Raises:
        EvaluationError: the folder does not exist, or no file in it is valid; the message explains the first file.
    """
    if not folder.is_dir():
        raise EvaluationError(f"{folder} is not a folder. Give the folder that holds the assessments ({FORM}).")
    paths = sorted(folder.glob("*.json"))
    if not paths:
        raise EvaluationError(f"{folder} holds no *.json. Give the folder that holds the assessments ({FORM}).")
    read = {path: _read(path) for path in paths}
    invalid = {path: outcome for path, outcome in read.items() if isinstance(outcome, str)}
    if len(invalid) == len(paths):
        path, reason = next(iter(invalid.items()))
        raise EvaluationError(f"{folder}: {len(invalid)} of {len(paths)} files are not valid. The first, {path.name}: {reason}. Correct or remove them.")
    return [outcome if isinstance(outcome, Trial) else _lost(path, outcome) for path, outcome in read.items() if NAME.fullmatch(path.stem)]


def misnamed(folder: Path) -> list[str]:
    """Return the names of the files in a folder of recorded assessments that do not state arm, persona and trial."""
    return [path.name for path in sorted(folder.glob("*.json")) if not NAME.fullmatch(path.stem)]


def judges_recorded(folder: Path) -> set[str]:
    """Return the judges that the valid files in a folder of recorded assessments name."""
    paths = [path for path in folder.glob("*.json") if not isinstance(_read(path), str)]
    return {judge for path in paths if (judge := Line.model_validate(read_json(path)).judge)}


def recorded_conversations(folder: Path, transcripts: Path) -> tuple[list[Conversation], dict[str, str]]:
    """Read the transcripts of recorded conversations, with their verdicts.

    Args:
        folder: the folder of the assessments, as for `read_recorded`.
        transcripts: a folder in which each transcript has the file name of its assessment.

    Returns:
        The conversations in the order of personas, trials and arms; and by name, why others cannot be read.
    """
    conversations, left_out = [], {}
    for path in sorted(folder.glob("*.json")):
        name = NAME.fullmatch(path.stem)
        if not name or isinstance(_read(path), str):  # `read_recorded` and `misnamed` report these files
            continue
        try:
            line = Line.model_validate(read_json(path))
            transcript = read_transcript(transcripts / path.name)
        except TranscriptError as error:
            left_out[path.stem] = str(error)
            continue
        reasonings = line.reasonings or {}
        verdicts = [Verdict(criterion=key, answer=answer, reasoning=reasonings.get(key, "")) for key, answer in line.answers.items()]
        assessment = Assessment(transcript_id=transcript.id, judge=line.judge or "recorded", rubric_hash="", verdicts=verdicts, score=_score(line))
        conversations.append(Conversation(name["arm"], int(name["persona"]), int(name["trial"]), transcript, assessment))
    return sorted(conversations, key=lambda item: (item.persona, item.trial, item.arm)), left_out


def _read(path: Path) -> Trial | str:
    """Return a file's conversation, or the reason why the file is invalid."""
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
        return f"its conversation_id is {line.conversation_id!r}, which is not its file name"
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
    lost = f"{path.name} does not fit: {reason}"
    return Trial(arm=name["arm"], persona=int(name["persona"]), trial=int(name["trial"]), transcript_id=path.stem, score=None, lost=lost)


def _score(line: Line) -> Score:
    errors = max(line.error_count, sum(answer is Answer.ERROR for answer in line.answers.values()))
    outcome = Outcome.PASS if line.passed else Outcome.FAIL
    return Score(
        outcome=Outcome.INCOMPLETE if errors or line.score is None else outcome,
        score=line.score,
        category_scores={category: value for category, value in line.category_scores.items() if value is not None},
        failed_checks=line.failed_checks or [],
        failed_gates=line.failed_safety or [],
        errors=errors,
    )
