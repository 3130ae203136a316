"""Judging: one task for each transcript and judge."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence

from prefect.logging import get_run_logger

from blocks.tokens import count_tokens
from core.imports.stored import all_rehearsed, read_folder
from core.judging.adoption import adopt_checkpoints
from core.judging.call_log import FOLDER, JudgementLog
from core.judging.judge import assess
from core.judging.judge_contexts import judge_context_for
from core.judging.plan import (
    AssessmentPlan,
    Key,
    decide_all,
    plan_assessment,
    plan_repeats,
    without_verdict,
)
from core.llm.run import Run
from core.packs.pack import recorded_conversations
from core.paths import user_path
from core.records import (
    Assessment,
    AssessmentBatch,
    AssessmentRef,
    LeftOut,
    Outcome,
    Transcript,
    TranscriptBatch,
    TranscriptRef,
)
from core.reports.left_out import counted_reasons, fail_if_none_passes, fail_if_nothing
from core.storage.batches import find_batch, keep_batch, report_folder
from core.storage.traces import leave_open
from tasks.batches import gather_bounded
from tasks.owning import LOCK, owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_model

Judged = tuple[list[AssessmentRef], list[LeftOut]]
"""The assessments, and the items that were left out."""
Judge = Callable[[Sequence[TranscriptRef], Run], Awaitable[Judged]]
"""A function that judges transcripts for a run."""


@cached_task("assess", "assess {plan.transcript.id} by {plan.judge.reference}")
async def assess_task(run: Run, plan: AssessmentPlan) -> AssessmentRef:
    """Judge one transcript and store the assessment, unless a complete one exists."""
    store = run.store
    transcript = store.load(plan.transcript.path, Transcript)
    name, path = plan.place(transcript)
    if store.exists(path):
        stored = plan.ref(path, store.load(path, Assessment))
        if stored.outcome is not Outcome.INCOMPLETE:
            return existing(stored)
    log = JudgementLog(store, name, LOCK.get())
    if log.damage:
        get_run_logger().warning(log.damage)
    plan_file = store.write_json(f"{FOLDER}/{name}.json", plan)  # says in the studio which transcript and judge the log belongs to
    assessment = await assess(judge_context_for(run, plan, await open_model(run, plan.judge), transcript, count_tokens, log, name))
    if lock := LOCK.get():
        lock.check()
    store.write_json(path, assessment)
    if assessment.score.outcome is not Outcome.INCOMPLETE:
        log.remove()
        store.remove(plan_file)
    return plan.ref(path, assessment)


def batch_to_judge(run: Run, folder: str | None, batch: str | None) -> str:
    """Return the path of the batch to judge.

    Args:
        run: the run; its pack names the domain.
        folder: folder of transcripts in any supported format, which are read into a batch.
        batch: name of a batch of generated conversations. Without a folder and a batch, all conversations of the domain are one batch.

    Raises:
        TranscriptError: there is no transcript.
        SettingsError: there is no batch of this name.
    """
    domain, logger = run.pack.name, get_run_logger()
    if not folder:
        return find_batch(run.store, batch, "transcripts") if batch else all_rehearsed(run.store, domain, logger.warning)
    own = recorded_conversations(domain)
    name = read_folder(run.store, folder, domain, logger.warning, recorded=own is not None and user_path(folder).resolve() == own.resolve())
    imported = run.store.load(name, TranscriptBatch)
    lost = f", left out {len(imported.left_out)}" if imported.left_out else ""
    logger.info("Read %d transcripts from %s%s.", len(imported.transcripts), folder, lost)
    return name


async def judge_transcripts(
    transcripts: Sequence[TranscriptRef],
    run: Run,
    should_stop: Callable[[], bool] = lambda: False,
) -> Judged:
    """Judge transcripts by the run's judge, or by its panel, and decide each outcome.

    Args:
        transcripts: the transcripts.
        run: the run, with its judges.
        should_stop: returns whether no further assessment may be started.
    """
    judges = run.models["judge"]
    plans = [plan_assessment(run, item, judge) for item in transcripts for judge in judges]
    by_key, left_out = await judge_plans(plans, run, "Assessed", should_stop)
    by_judge = [{judge.reference: by_key.get((item.id, judge.reference, 0)) for judge in judges} for item in transcripts]
    return decide_all(run, by_judge), left_out


async def assess_batch(
    batch_path: str,
    run: Run,
    checkpoints: str | None = None,
    judge: Judge = judge_transcripts,
) -> str:
    """Judge a batch of transcripts, except those that earlier checkpoints assess.

    Args:
        batch_path: path of the batch of transcripts below the data root.
        run: the run, with its judges.
        checkpoints: earlier assessments to reuse: files or folders, separated by commas; None for none.
        judge: function that judges the remaining transcripts.

    Returns:
        Path of the batch of assessments below the data root.
    """
    batch, logger = run.store.load(batch_path, TranscriptBatch), get_run_logger()
    adopted = adopt_checkpoints(run, checkpoints, batch.transcripts, logger.warning, logger.info) if checkpoints else {}
    waiting = [item for item in batch.transcripts if item.id not in adopted]
    assessed, left_out = await judge(waiting, run)
    by_id = {item.transcript.id: item for item in assessed} | adopted
    in_order = [by_id[item.id] for item in batch.transcripts if item.id in by_id]
    judges = dict.fromkeys(
        [
            *(judge.reference for judge in run.models["judge"]),
            *(judge for item in adopted.values() for judge in item.by_judge),
        ]
    )
    result = AssessmentBatch(
        domain=run.pack.name,
        judges=list(judges),
        assessments=in_order,
        left_out=[*batch.left_out, *left_out],
    )
    _log_outcomes(run, in_order, len(left_out))
    return keep_batch(run.store, result)


def check_assessed(run: Run, batch_path: str) -> None:
    """Check that at least one assessment of a batch has a verdict on every criterion; the answer ERROR is no verdict.

    Raises:
        NothingMadeError: no assessment is complete.
    """
    batch = run.store.load(batch_path, AssessmentBatch)
    complete = sum(item.outcome is not Outcome.INCOMPLETE for item in batch.assessments)
    missing = [] if complete else [without_verdict(run.store, item) for item in batch.assessments]
    fail_if_nothing(complete, [*batch.left_out, *missing], "assessments")


def check_passes(run: Run, batch_path: str) -> None:
    """Check that at least one transcript of a batch passed.

    Raises:
        NothingMadeError: none of more than a few passed.
    """
    outcomes = Counter(item.outcome for item in run.store.load(batch_path, AssessmentBatch).assessments)
    page = f"{run.store.root}/{report_folder(batch_path)}/report.html"
    fail_if_none_passes(outcomes[Outcome.PASS], outcomes[Outcome.PASS] + outcomes[Outcome.FAIL], page)


async def judge_again(batch_path: str, run: Run, repeat: int, sample: int | None) -> dict[str, list[str]]:
    """Judge a sample of a batch repeatedly, to measure how often each judge's answers to the same transcript differ.

    Args:
        batch_path: path of the batch of assessments below the data root.
        run: the run, with its judges.
        repeat: number of assessments of each transcript by each judge, including the first, which decides the outcome.
        sample: number of transcripts; None for the number in the settings.

    Returns:
        By judge, the paths of all its assessments of the sample, `repeat` of each transcript; empty if `repeat` is 1.
    """
    if repeat < 2:
        return {}
    plans = plan_repeats(run, run.store.load(batch_path, AssessmentBatch), repeat, sample)
    paths: dict[str, list[str]] = {judge.reference: [] for judge in run.models["judge"]}
    by_key, _ = await judge_plans(plans, run, "Judged again")
    for (_, judge, _), ref in by_key.items():
        paths[judge].append(ref.path)
    return paths


async def judge_plans(
    plans: Sequence[AssessmentPlan],
    run: Run,
    doing: str,
    should_stop: Callable[[], bool] = lambda: False,
) -> tuple[dict[Key, AssessmentRef], list[LeftOut]]:
    """Run a task for each plan.

    Args:
        plans: one plan for each transcript and judge.
        run: the run.
        doing: the verb that is logged with the counts, such as "Assessed".
        should_stop: returns whether no further task may be started.

    Returns:
        The assessments by key, in the plans' order; and what was left out.
    """
    by_key: dict[Key, AssessmentRef] = {}

    async def judge(plan: AssessmentPlan) -> AssessmentRef:
        async with owned(run.store, f"{FOLDER}/{plan.lock}"):
            ref = await run_cached(assess_task, run, plan)
        if ref.outcome is Outcome.INCOMPLETE:
            leave_open()
        by_key[plan.key] = ref
        return ref

    def how_far() -> str:
        incomplete = sum(ref.outcome is Outcome.INCOMPLETE for ref in by_key.values())
        lost = f", {incomplete} incomplete" if incomplete else ""
        return f"{len(by_key) - incomplete} of {len(plans)}{lost}"

    names = [f"{plan.transcript.id} by {plan.judge.reference}" for plan in plans]
    limit = run.settings.assessment.concurrency
    async with concurrency_slot(run, ("judge",)):
        _, left_out = await gather_bounded(run, judge, plans, names, limit, doing, how_far, should_stop)
    log_bill(run)
    return {plan.key: by_key[plan.key] for plan in plans if plan.key in by_key}, left_out


def _log_outcomes(run: Run, assessed: Sequence[AssessmentRef], left_out: int) -> None:
    if not assessed and not left_out:  # after a repair that found nothing to repair
        return
    passed = sum(item.outcome is Outcome.PASS for item in assessed)
    incomplete = [item for item in assessed if item.outcome is Outcome.INCOMPLETE]
    reasons = (without_verdict(run.store, item).reason for item in incomplete)
    why = Counter(text.partition(" Given up after")[0][:200].rstrip(".") for text in reasons)
    lost = f"; {why.total()} incomplete ({counted_reasons(why)})" if why else ""
    get_run_logger().info(
        "Judged %d of %d transcripts completely; %d passed%s.",
        *(len(assessed) - why.total(), len(assessed) + left_out, passed, lost),
    )
