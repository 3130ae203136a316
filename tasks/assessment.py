"""Judging: one task for each transcript and judge."""

from pathlib import Path

from prefect import task
from prefect.logging import get_run_logger

from core.errors import TranscriptError
from core.fingerprint import fingerprint
from core.judging import assess
from core.pack import load_pack
from core.records import Assessment, AssessmentBatch, AssessmentRef, LeftOut, ModelChoice, Outcome, Transcript, TranscriptBatch, TranscriptRef
from core.store import CHECKOUT, open_store
from core.transcript_files import find_transcripts
from tasks.policy import CACHED, ensured, side_by_side
from tasks.run import Run, log_bill, open_model, turn
from tasks.tokens import count_tokens


@task(name="assess", task_run_name="assess {transcript.id}", cache_policy=CACHED, persist_result=True, result_serializer="json")
async def assess_task(transcript: TranscriptRef, judge: ModelChoice, domain: str, pack_hash: str, max_tokens: int, context: int | None) -> AssessmentRef:
    """Judge one transcript and store the assessment; a complete one that is there already is not made again."""
    pack = load_pack(domain)
    store = open_store()
    conversation = Transcript.model_validate_json(store.read(transcript.path))
    path = f"assessments/{domain}/{pack.rubric.hash}/{fingerprint([conversation.id, conversation.exchanges, judge, pack_hash])}.json"
    found = Assessment.model_validate_json(store.read(path)) if store.exists(path) else None
    if found is None or found.score.outcome is Outcome.INCOMPLETE:
        found = await assess(pack, await open_model(judge), conversation, max_tokens, context, count_tokens)
        store.write_json(path, found)
    return AssessmentRef(path=path, transcript=transcript, outcome=found.score.outcome, score=found.score.score)


async def judge_side_by_side(transcripts: list[TranscriptRef], run: Run) -> tuple[list[AssessmentRef], list[LeftOut]]:
    """Judge transcripts side by side; an incomplete assessment is not kept by the cache, so that it is made again next time."""
    judge = run.models["judge"]
    how = (judge, run.pack.name, run.pack.hash, run.settings.assessment.max_tokens, run.context(judge))

    async def one(transcript: TranscriptRef) -> AssessmentRef:
        found = await ensured(assess_task, AssessmentRef, transcript, *how)
        return await assess_task.with_options(refresh_cache=True)(transcript, *how) if found.outcome is Outcome.INCOMPLETE else found

    names = [transcript.id for transcript in transcripts]
    async with turn(run, ("judge",)):
        found = await side_by_side(one, transcripts, names, run.settings.assessment.concurrency, "Assessed")
    log_bill(run)
    return found


async def assess_batch(batch_path: str, run: Run) -> str:
    """Judge a batch of transcripts.

    Returns:
        Name of the batch of assessments below the data root.
    """
    store = open_store()
    batch = TranscriptBatch.model_validate_json(store.read(batch_path))
    assessed, left_out = await judge_side_by_side(batch.transcripts, run)
    result = AssessmentBatch(domain=run.pack.name, judge=run.models["judge"].reference, assessments=assessed, left_out=[*batch.left_out, *left_out])
    passed = sum(item.outcome is Outcome.PASS for item in assessed)
    get_run_logger().info("%d of %d transcripts passed.", passed, len(assessed))
    return store.write_json(f"batches/assessments-{fingerprint(result)}.json", result)


def read_folder(folder: str, domain: str) -> str:
    """Take the transcripts of a folder into the data root; the files themselves are left as they are.

    Args:
        folder: a path, relative to the checkout unless absolute.

    Returns:
        Name of the batch's file below the data root.

    Raises:
        TranscriptError: the folder holds no readable transcript.
    """
    found = find_transcripts(CHECKOUT / Path(folder).expanduser())
    store, logger = open_store(), get_run_logger()
    for reason in found.left_out.values():
        logger.warning("Left out: %s", reason)
    taken = []
    for transcript in found.transcripts.values():
        path = f"transcripts/imported/{fingerprint(transcript)}.json"
        if not store.exists(path):
            store.write_json(path, transcript)
        taken.append(TranscriptRef(id=transcript.id, path=path, exchanges=len(transcript.exchanges)))
    logger.info("Read %d transcripts from %s%s.", len(taken), folder, f", left out {len(found.left_out)}" if found.left_out else "")
    left_out = [LeftOut(name=path.name, reason=reason) for path, reason in found.left_out.items()]
    batch = TranscriptBatch(domain=domain, transcripts=taken, left_out=left_out)
    return store.write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)


def all_rehearsed(domain: str) -> str:
    """Make a batch of every transcript that was rehearsed for a domain.

    Raises:
        TranscriptError: there is none.
    """
    store = open_store()
    transcripts = [(path, Transcript.model_validate_json(store.read(path))) for path in store.names(f"transcripts/{domain}", ".json")]
    if not transcripts:
        raise TranscriptError(f"No transcript of {domain!r} in {store.root}. Rehearse some first (make generate), or name a folder.")
    refs = [TranscriptRef(id=item.id, path=path, exchanges=len(item.exchanges)) for path, item in transcripts]
    batch = TranscriptBatch(domain=domain, transcripts=refs, left_out=[])
    return store.write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)
