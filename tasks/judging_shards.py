"""Judging a batch over several machines."""

from collections.abc import Sequence

from core.judging.plan import existing_assessments, not_assessed
from core.llm.run import Run
from core.records import AssessmentRef, LeftOut, TranscriptBatch, TranscriptRef
from core.storage.batches import keep_batch
from tasks.assessment import Judge
from tasks.judging_batches import judge_as_set
from tasks.shards import common_parameters, run_shards, split


def judging(shards: int, settings: str) -> Judge:
    """Return how transcripts are judged: here, or over runs of the deployment `assessment/assessment-shard`."""

    async def judge(transcripts: Sequence[TranscriptRef], run: Run) -> tuple[list[AssessmentRef], list[LeftOut]]:
        waiting, parts = not_assessed(transcripts, run), []
        for begin, size in split(len(waiting), shards):
            part = TranscriptBatch(domain=run.pack.name, transcripts=waiting[begin : begin + size], left_out=[])
            parts.append({**common_parameters(run, settings), "batch": keep_batch(run.store, part)})
        if parts:
            await run_shards("assessment/assessment-shard", parts)
        refs = existing_assessments(transcripts, run)
        assessed = {item.transcript.id for item in refs}
        reason = "its shard did not judge it; the log of that run says why"
        return refs, [LeftOut(name=item.id, reason=reason) for item in transcripts if item.id not in assessed]

    return judge if shards > 1 else judge_as_set
