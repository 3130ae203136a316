"""Judging a batch on several machines."""

from collections.abc import Sequence

from core.judging.plan import existing_assessments, not_assessed
from core.llm.run import Run
from core.records import AssessmentBatch, AssessmentRef, LeftOut, TranscriptBatch, TranscriptRef
from core.storage.batches import keep_batch
from tasks.assessment import Judge
from tasks.judging_batches import judge_as_set
from tasks.shards import run_shards, split


def judging(shards: int, settings: str) -> Judge:
    """Return the function that judges transcripts: in this run, or in several runs of the deployment `assessment/assessment-shard`.

    Args:
        shards: number of runs; 1 for this run alone.
        settings: path of the settings file, for those runs.
    """

    async def judge(transcripts: Sequence[TranscriptRef], run: Run) -> tuple[list[AssessmentRef], list[LeftOut]]:
        waiting = not_assessed(transcripts, run)
        parts = [waiting[begin : begin + size] for begin, size in split(len(waiting), shards)]
        asked = [{"batch": keep_batch(run.store, TranscriptBatch(domain=run.pack.name, transcripts=part, left_out=[]))} for part in parts]
        names = await run_shards("assessment/assessment-shard", run, settings, asked) if asked else []
        refs = existing_assessments(transcripts, run)
        assessed, left_out = {item.transcript.id for item in refs}, list[LeftOut]()
        for part, name in zip(parts, names, strict=True):
            if name:
                left_out += run.store.load(name, AssessmentBatch).left_out
            else:
                reason = "its shard did not judge it; the log of that run has the reason"
                left_out += [LeftOut(name=item.id, reason=reason) for item in part if item.id not in assessed]
        return refs, left_out

    return judge if shards > 1 else judge_as_set
