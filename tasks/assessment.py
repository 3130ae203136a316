"""Judging: one task for each transcript and judge."""

import random
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence

from prefect.logging import get_run_logger

from core.errors import DamagedError
from core.fingerprint import fingerprint, seed_of
from core.judging.call_log import FOLDER, JudgementLog
from core.judging.figures import REPEATED
from core.judging.judge import Sitting, assess
from core.judging.panel import decide
from core.packs.pack import load_pack
from core.records import Answer, Assessment, AssessmentBatch, AssessmentRef, LeftOut, ModelChoice, Outcome, Record, Transcript, TranscriptBatch, TranscriptRef
from core.settings.assessment import Judging
from core.storage.store import open_store
from core.storage.traces import leave_open
from tasks.checkpoints import adopt_checkpoints
from tasks.owning import LOCK, owned
from tasks.policy import cached_task, counted, existing, fail_if_nothing, run_cached, side_by_side
from tasks.run import Run, log_bill, open_model, turn
from tasks.tokens import count_tokens


class AssessmentPlan(Record):
    """All that one assessment depends on, and the room that its judge has.

    Args:
        judge_hash: of all that the judge reads of the pack.
        repeat: which of several assessments of the transcript by the judge; 0 is the one that counts.
    """

    transcript: TranscriptRef
    judge: ModelChoice
    domain: str
    judge_hash: str
    judging: Judging
    max_tokens: int
    context: int | None
    repeat: int = 0


@cached_task("assess", "assess {plan.transcript.id} by {plan.judge.reference}")
async def assess_task(plan: AssessmentPlan) -> AssessmentRef:
    """Judge one transcript and store the assessment; a complete one that is there already is not made again."""
    pack, store = load_pack(plan.domain), open_store()
    transcript = store.record(plan.transcript.path, Transcript)
    name, path = _place(plan, transcript)
    if store.exists(path) and (known := store.record(path, Assessment).score).outcome is not Outcome.INCOMPLETE:
        return existing(AssessmentRef(path=path, transcript=plan.transcript, outcome=known.outcome, score=known.score))
    log = JudgementLog(store, name, LOCK.get())
    if log.damage:
        get_run_logger().warning(log.damage)
    room = (plan.judging, plan.max_tokens, plan.context, count_tokens, plan.repeat)
    made = await assess(Sitting(pack, await open_model(plan.judge), transcript, *room, log))
    if lock := LOCK.get():
        lock.check()
    store.write_json(path, made)
    if made.score.outcome is not Outcome.INCOMPLETE:
        log.remove()
    return AssessmentRef(path=path, transcript=plan.transcript, outcome=made.score.outcome, score=made.score.score)


def not_assessed(transcripts: Sequence[TranscriptRef], run: Run) -> list[TranscriptRef]:
    """Return those of which an assessment by the run's judge, or by one of its panel, is not there or not complete."""

    def is_complete(found: AssessmentRef | None) -> bool:
        return found is not None and found.outcome is not Outcome.INCOMPLETE

    return [item for item in transcripts if not all(is_complete(_found(_plan(run, item, judge))) for judge in run.models["judge"])]


def found_assessments(transcripts: Sequence[TranscriptRef], run: Run) -> list[AssessmentRef]:
    """Return what came of those transcripts of which any assessment by the run's judge, or by its panel, is there."""
    judges, decided = run.models["judge"], []
    for item in transcripts:
        by_judge = {judge.reference: _found(_plan(run, item, judge)) for judge in judges}
        there = [found for found in by_judge.values() if found]
        if there:
            decided.append(there[0] if len(judges) == 1 else _decided(run, by_judge))
    return decided


async def judge_transcripts(
    transcripts: Sequence[TranscriptRef], run: Run, over: Callable[[], bool] = lambda: False
) -> tuple[list[AssessmentRef], list[LeftOut]]:
    """Judge transcripts by the run's judge, or by its panel, and decide what comes of each.

    Args:
        over: says whether no assessment may be begun any more.
    """
    judges = run.models["judge"]
    made, left_out = await _judge([_plan(run, transcript, judge) for transcript in transcripts for judge in judges], run, "Assessed", over)
    if len(judges) == 1:
        return list(made.values()), left_out
    found = {item.id: {judge.reference: made.get((item.id, judge.reference, 0)) for judge in judges} for item in transcripts}
    return [_decided(run, by_judge) for by_judge in found.values() if any(by_judge.values())], left_out


Judge = Callable[[Sequence[TranscriptRef], Run], Awaitable[tuple[list[AssessmentRef], list[LeftOut]]]]
"""Judges transcripts: what came of each, and what was left out."""


async def assess_batch(batch_path: str, run: Run, checkpoints: str | None = None, judge: Judge = judge_transcripts) -> str:
    """Judge a batch of transcripts, but for those that prior checkpoints hold.

    Returns:
        Name of the batch of assessments below the data root.
    """
    store = open_store()
    batch = store.record(batch_path, TranscriptBatch)
    adopted = adopt_checkpoints(checkpoints, batch.transcripts, run.pack) if checkpoints else {}
    assessed, left_out = await judge([item for item in batch.transcripts if item.id not in adopted], run)
    found = {item.transcript.id: item for item in assessed} | adopted
    in_order = [found[item.id] for item in batch.transcripts if item.id in found]
    judges = dict.fromkeys([*(judge.reference for judge in run.models["judge"]), *(judge for item in adopted.values() for judge in item.by_judge)])
    result = AssessmentBatch(domain=run.pack.name, judges=list(judges), assessments=in_order, left_out=[*batch.left_out, *left_out])
    passed, asked = sum(item.outcome is Outcome.PASS for item in in_order), len(in_order) + len(left_out)
    reasons = [_without_verdict(item).reason for item in in_order if item.outcome is Outcome.INCOMPLETE]
    why = Counter(reason.partition(" Given up after")[0][:200].rstrip(".") for reason in reasons)
    lost = f"; {why.total()} incomplete ({counted(why)})" if why else ""
    get_run_logger().info("Judged %d of %d transcripts whole, of which %d passed%s.", len(in_order) - why.total(), asked, passed, lost)
    return store.write_json(f"batches/assessments-{fingerprint(result)}.json", result)


def check_assessed(batch_path: str) -> None:
    """See that a batch has an assessment with an answer to every criterion: an ERROR is no verdict.

    Raises:
        NothingMadeError: each of them failed.
    """
    batch = open_store().record(batch_path, AssessmentBatch)
    complete = sum(item.outcome is not Outcome.INCOMPLETE for item in batch.assessments)
    fail_if_nothing(complete, [*batch.left_out, *([] if complete else map(_without_verdict, batch.assessments))], "assessments")


def _without_verdict(item: AssessmentRef) -> LeftOut:
    verdicts = open_store().record(item.path, Assessment).verdicts
    return LeftOut(name=item.transcript.id, reason=next((one.reasoning for one in verdicts if one.answer is Answer.ERROR), "nothing could be scored"))


async def judge_again(batch_path: str, run: Run, repeat: int, sample: int | None) -> dict[str, list[str]]:
    """Judge a sample of a batch so often in all that each judge's answers can be compared with its own.

    Args:
        repeat: assessments of each transcript of the sample by each judge, the one that counts included.
        sample: transcripts; by default as many as the settings say.

    Returns:
        By judge, the paths of all its assessments of the sample, several of each transcript.
    """
    if repeat < 2:
        return {}
    batch = open_store().record(batch_path, AssessmentBatch)
    size = min(sample or REPEATED, len(batch.assessments))
    chosen = random.Random(seed_of("repeat", run.pack.name)).sample(sorted(batch.assessments, key=lambda item: item.transcript.id), size)
    plans = [_plan(run, item.transcript, judge, number) for item in chosen for judge in run.models["judge"] for number in range(repeat)]
    found: dict[str, list[str]] = {judge.reference: [] for judge in run.models["judge"]}
    for (_, judge, _), ref in (await _judge(plans, run, "Judged again"))[0].items():
        found[judge].append(ref.path)
    return found


def _place(plan: AssessmentPlan, transcript: Transcript) -> tuple[str, str]:
    """Return an assessment's name and its file."""
    said = [transcript.exchanges, *([transcript.opening] if transcript.opening else [])]
    name = fingerprint([transcript.id, *said, plan.judge, plan.judge_hash, plan.judging, plan.repeat])
    return name, f"assessments/{plan.domain}/{load_pack(plan.domain).rubric.hash}/{name}.json"


def _found(plan: AssessmentPlan) -> AssessmentRef | None:
    """Return an assessment that is there and can be read, complete or not."""
    store = open_store()
    try:
        _, path = _place(plan, store.record(plan.transcript.path, Transcript))
        if not store.exists(path):
            return None
        score = store.record(path, Assessment).score
    except DamagedError:  # the judging says so
        return None
    return AssessmentRef(path=path, transcript=plan.transcript, outcome=score.outcome, score=score.score)


def _plan(run: Run, transcript: TranscriptRef, judge: ModelChoice, repeat: int = 0) -> AssessmentPlan:
    settings = run.settings.assessment
    return AssessmentPlan(
        transcript=transcript,
        judge=judge,
        domain=run.pack.name,
        # the scripted judge reads its phrases, which are no part of what models read
        judge_hash=run.pack.hash if judge.reference.startswith("scripted/") else run.pack.judge_hash,
        judging=settings.judging,
        max_tokens=settings.max_tokens,
        context=run.context(judge),
        repeat=repeat,
    )


async def _judge(
    plans: Sequence[AssessmentPlan], run: Run, doing: str, over: Callable[[], bool] = lambda: False
) -> tuple[dict[tuple[str, str, int], AssessmentRef], list[LeftOut]]:
    """Run a task for each plan; an incomplete assessment that an earlier run left is made again.

    Returns:
        By transcript, judge and repeat what was made, in the plans' order; and what was left out.
    """
    made: dict[tuple[str, str, int], AssessmentRef] = {}

    async def one(plan: AssessmentPlan) -> AssessmentRef:
        async with owned(f"{FOLDER}/{fingerprint([plan.transcript.id, plan.judge, plan.judge_hash, plan.judging, plan.repeat])}"):
            found = await run_cached(assess_task, plan)
        if found.outcome is Outcome.INCOMPLETE:
            leave_open()
        made[_key(plan)] = found
        return found

    def how_far() -> str:
        incomplete = sum(found.outcome is Outcome.INCOMPLETE for found in made.values())
        return f"{len(made) - incomplete} of {len(plans)}{f', {incomplete} incomplete' if incomplete else ''}"

    names = [f"{plan.transcript.id} by {plan.judge.reference}" for plan in plans]
    async with turn(run, ("judge",)):
        _, left_out = await side_by_side(one, plans, names, run.settings.assessment.concurrency, doing, how_far, over)
    log_bill(run)
    return {key: made[key] for key in map(_key, plans) if key in made}, left_out


def _key(plan: AssessmentPlan) -> tuple[str, str, int]:
    return plan.transcript.id, plan.judge.reference, plan.repeat


def _decided(run: Run, by_judge: Mapping[str, AssessmentRef | None]) -> AssessmentRef:
    """Decide what a panel's assessments of a transcript come to, and store it."""
    store, refs = open_store(), {judge: ref for judge, ref in by_judge.items() if ref}
    transcript = next(iter(refs.values())).transcript
    read = {judge: store.record(refs[judge].path, Assessment) if judge in refs else None for judge in by_judge}
    decided = decide(run.pack, read, run.settings.assessment.panel, transcript.exchanges)
    path = f"assessments/{run.pack.name}/{run.pack.rubric.hash}/panels/{fingerprint(decided)}.json"
    if not store.exists(path):
        store.write_json(path, decided)
    paths = {judge: ref.path for judge, ref in refs.items()}
    return AssessmentRef(path=path, transcript=transcript, outcome=decided.score.outcome, score=decided.score.score, by_judge=paths)
