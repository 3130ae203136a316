"""Reuse of earlier assessments from checkpoints: a transcript that has one is not judged again."""

from collections.abc import Callable, Sequence

from core.errors import DamagedError
from core.fingerprint import fingerprint
from core.judging.checkpoints import adopt_first, read_checkpoints
from core.llm.run import Run
from core.paths import user_path
from core.records import Assessment, AssessmentRef, Transcript, TranscriptRef


def adopt_checkpoints(
    run: Run, paths: str, transcripts: Sequence[TranscriptRef], warn: Callable[..., None], say: Callable[..., None]
) -> dict[str, AssessmentRef]:
    """Store the assessments of these transcripts that checkpoints hold, and return references to them.

    A line that cannot be used is logged, and its transcript is left to be judged.

    Args:
        paths: files or folders, separated by commas, relative to the working directory unless absolute.
        warn, say: methods of a logger.

    Returns:
        The stored assessments, by transcript id.

    Raises:
        CheckpointError: a path does not exist, or nothing in it can be read.
    """
    store, pack = run.store, run.pack
    checkpoints = read_checkpoints([user_path(path.strip()) for path in paths.split(",")])
    for line in checkpoints.notices():
        warn("%s", line)
    adopted, differing = {}, 0
    for ref in transcripts:
        if ref.id not in checkpoints.lines:
            continue
        try:
            transcript = store.load(ref.path, Transcript)
        except DamagedError:  # the judging that follows reports it
            continue
        source, _, assessment = adopt_first(checkpoints, transcript, ref.id, pack)
        if not isinstance(assessment, Assessment):
            warn("Judged again: %s (%s): %s", ref.id, source, assessment)
            continue
        path = f"assessments/{pack.name}/{pack.rubric.hash}/checkpoints/{fingerprint(assessment)}.json"
        if not store.exists(path):
            store.write_json(path, assessment)
        differing += assessment.provenance["recorded_pass"] != (assessment.score.outcome == "pass")
        score, by_judge = assessment.score, {assessment.judge: path}
        adopted[ref.id] = AssessmentRef(path=path, transcript=ref, outcome=score.outcome, score=score.score, by_judge=by_judge)
    say(
        "Reused from checkpoints: %d of %d transcripts%s.",
        len(adopted),
        len(transcripts),
        f"; {differing} pass or fail, contrary to the record" if differing else "",
    )
    return adopted
