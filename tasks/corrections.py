"""The understudy plays, the judges find its failures, and the teacher corrects the failed replies: one task for each conversation and each correction."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from prefect.logging import get_run_logger

from core.dataset.corrections import CorrectionPlan, correct, failing_exchanges, judged_on, objection
from core.dataset.repair import RepairContext
from core.errors import PackError, RepairError, TranscriptError
from core.evaluation.arms import Arm
from core.evaluation.schedule import plan_parts
from core.fingerprint import fingerprint
from core.improvement.failures import Cell, failure_by_cell, failure_of
from core.improvement.rounds import Began, drawn_where_it_fails, folder_of, personas_of
from core.judging.plan import decide_all, plan_assessment
from core.llm.run import Run
from core.packs.rubric import GatherRule
from core.records import Assessment, AssessmentBatch, AssessmentRef, LeftOut, ModelChoice, Outcome, Persona, Transcript, TranscriptRef
from core.rehearsal.plan import RehearsalPlan
from core.reports.left_out import fail_if_nothing
from core.settings.arms import UNDERSTUDY
from tasks.assessment import judge_plans, judge_transcripts
from tasks.batches import gather_bounded
from tasks.evaluation import choose_arms, in_memory
from tasks.generation import rehearsed
from tasks.owning import owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_recalled
from tasks.windows import set_windows, warn_of_cuts


@dataclass(frozen=True)
class Practised:
    """The conversations that the understudy played in a round.

    Args:
        personas: all personas of the round.
        judged: the conversations that were judged completely.
        cells: how often the understudy failed with each kind of persona, by the first personas.
    """

    personas: list[Persona]
    judged: list[AssessmentRef]
    cells: list[Cell]


@dataclass(frozen=True)
class Corrected:
    """The corrections of a round.

    Args:
        batch: path, below the data root, of the batch of corrections that are learnt, with their assessments; None if there are none.
        count: number of corrections that are learnt.
        refused: number of corrections that are not learnt, by reason.
    """

    batch: str | None
    count: int
    refused: dict[str, int]


async def practise(run: Run, began: Began) -> Practised:
    """Have the understudy play the round's personas, and judge the conversations.

    The first personas are drawn as the taxonomy weights them, the others from the kinds of personas with which the understudy failed.

    Raises:
        NothingMadeError: no conversation was judged completely.
    """
    (arm,) = (arm for arm in await choose_arms(run, began.before, {}) if arm.name == UNDERSTUDY)
    first, pool = personas_of(run, began)
    judged, left_out = await _play(run, arm, first)
    fail_if_nothing(len(judged), left_out, "conversations of the understudy")
    seeds = {persona.seed: persona for persona in first}
    cells = failure_by_cell([(seeds[_seed(run, item)], failure_of(run.store.load(item.path, Assessment))) for item in judged])
    others = drawn_where_it_fails(run.settings.improvement, pool, cells)
    if others:
        judged = [*judged, *(await _play(run, arm, others))[0]]
    run.store.write_json(
        f"{folder_of(run.pack.name, began)}/practice.json",
        AssessmentBatch(domain=run.pack.name, judges=[judge.reference for judge in run.models["judge"]], assessments=judged, left_out=left_out),
    )
    failed = sum(item.outcome is Outcome.FAIL for item in judged)
    get_run_logger().info("Round %d: the understudy failed %d of %d conversations.", began.number, failed, len(judged))
    return Practised([*first, *others], judged, cells)


async def correct_failures(run: Run, began: Began, practised: Practised) -> Corrected:
    """Have the teacher correct the failed replies, and judge each correction; one that still fails is not learnt."""
    plans = [plan for item in practised.judged for plan in _plans(run, began, item)]
    names, limit = [f"{plan.transcript.id}, reply {plan.exchange}" for plan in plans], run.settings.repair.concurrency

    async def correct_reply(plan: CorrectionPlan) -> TranscriptRef:
        async with owned(run.store, plan.path.removesuffix(".json")):
            return await run_cached(correct_task, run, plan)

    async with concurrency_slot(run, (), _teacher(run)):
        refs, left_out = await gather_bounded(run, correct_reply, plans, names, limit, "Corrected")
    log_bill(run)
    corrected = {ref.id: ref for ref in refs}
    judged, refused = await _judge(run, [plan for plan in plans if plan.name in corrected], corrected)
    reasons = Counter([*(item.reason for item in refused), *("left as it was" if "as it was" in item.reason else "no usable answer" for item in left_out)])
    batch = AssessmentBatch(
        domain=run.pack.name,
        judges=[judge.reference for judge in run.models["judge"]],
        assessments=judged,
        left_out=[*refused, *left_out],
    )
    get_run_logger().info("Round %d: %d of %d corrections are learnt.", began.number, len(judged), len(plans))
    path = run.store.write_json(f"{folder_of(run.pack.name, began)}/corrections.json", batch)
    return Corrected(path if judged else None, len(judged), dict(reasons.most_common()))


@cached_task("correct", "correct reply {plan.exchange} of {plan.transcript.id}")
async def correct_task(run: Run, plan: CorrectionPlan) -> TranscriptRef:
    """Have the teacher correct one reply, and store the conversation up to it, unless it exists."""
    store, ref = run.store, TranscriptRef(id=plan.name, path=plan.path, exchanges=plan.exchange)
    if store.exists(plan.path):
        store.load(plan.path, Transcript)
        return existing(ref)
    model = await open_recalled(run, plan.teacher, plan.name)
    numbers = run.settings.repair.model_copy(update={"max_tokens": plan.max_tokens})
    context = RepairContext(run.pack, model, numbers, 1, plan.guards, GatherRule())
    try:
        corrected = await correct(context, store.load(plan.transcript.path, Transcript), store.load(plan.assessment, Assessment), plan)
    except RepairError as error:
        raise TranscriptError(str(error)) from error  # leaves out this correction and does not end the batch
    store.write_json(plan.path, corrected)
    model.remove()
    return ref


async def _play(run: Run, arm: Arm, personas: Sequence[Persona]) -> tuple[list[AssessmentRef], list[LeftOut]]:
    """Play one conversation with each persona, and judge the conversations; return the complete assessments, and what was left out."""
    plans = _practice_plans(run, arm, personas)
    set_windows(run, plans, 1)
    plans = _practice_plans(run, arm, personas)  # planned again, because the window is part of a plan
    warn_of_cuts(run, arm.name, plans)

    async def play(plan: RehearsalPlan) -> TranscriptRef:
        return await rehearsed(run, plan)

    async with in_memory(arm.choice), concurrency_slot(run, ("user_simulator",), arm.choice):
        names = [f"persona {plan.persona.seed}" for plan in plans]
        refs, lost = await gather_bounded(run, play, plans, names, run.settings.evaluation.concurrency, "Played by the understudy:")
    spoiled = [ref for ref in refs if run.store.load(ref.path, Transcript).provenance.get("problem_side") == "user"]
    judged, unjudged = await judge_transcripts([ref for ref in refs if ref not in spoiled], run)
    lost = [*lost, *(LeftOut(name=ref.id, reason="the simulated user broke it") for ref in spoiled), *unjudged]
    return [item for item in judged if item.outcome is not Outcome.INCOMPLETE], lost


def _practice_plans(run: Run, arm: Arm, personas: Sequence[Persona]) -> list[RehearsalPlan]:
    """Plan conversations as an evaluation does, but one trial only and in a separate folder."""
    folder = f"practice/{run.pack.name}"
    return [part.plan.model_copy(update={"folder": folder}) for part in plan_parts(run, personas, [arm]) if part.plan.trial == 0]


def _plans(run: Run, began: Began, item: AssessmentRef) -> list[CorrectionPlan]:
    """Plan corrections of a conversation's failed replies, at most improvement.corrections of them.

    Raises:
        PackError: the pack has no prompt for corrections.
    """
    pack, settings = run.pack, run.settings
    if pack.repair is None:
        raise PackError(
            f"prompts/{pack.name}/repair.md does not exist, so replies cannot be corrected. Write it; docs/domain-packs.md says what belongs in it."
        )
    failing = failing_exchanges(run.store.load(item.path, Assessment), item.transcript.exchanges, pack.rubric, settings.improvement.corrections)
    return [
        CorrectionPlan(
            transcript=item.transcript,
            assessment=item.path,
            exchange=number,
            criteria=[verdict.criterion for verdict in verdicts],
            round=began.number,
            teacher=_teacher(run),
            domain=pack.name,
            prompt=fingerprint([pack.repair.text, pack.rubric.hash]),
            max_tokens=settings.repair.max_tokens,
            guards=settings.generation.guards,
        )
        for number, verdicts in failing.items()
    ]


def _teacher(run: Run) -> ModelChoice:
    """Return the model that corrects: the repairer, or the assistant if the settings name no repairer."""
    return (run.models.get("repairer") or run.models["assistant"])[0]


async def _judge(run: Run, corrections: Sequence[CorrectionPlan], transcripts: dict[str, TranscriptRef]) -> tuple[list[AssessmentRef], list[LeftOut]]:
    """Judge corrections on the gates and the criteria that had failed; return those that pass, and the reasons of the others."""
    judges, asked = run.models["judge"], {plan.name: judged_on(plan, run.pack.rubric) for plan in corrections}
    plans = [plan_assessment(run, transcripts[name], judge, only=only) for name, only in asked.items() for judge in judges]
    by_key, _ = await judge_plans(plans, run, "Corrections judged:")
    passed, refused = list[AssessmentRef](), list[LeftOut]()
    for plan in corrections:
        by_judge = {judge.reference: by_key.get((plan.name, judge.reference, 0)) for judge in judges}
        decided = decide_all(run, [by_judge], asked[plan.name])
        reason = objection(run.store.load(decided[0].path, Assessment), [plan.exchange]) if decided else "not judged"
        if reason:
            refused.append(LeftOut(name=plan.name, reason=reason))
        else:
            passed += decided
    return passed, refused


def _seed(run: Run, item: AssessmentRef) -> int:
    return int(run.store.load(item.transcript.path, Transcript).provenance["seed"])
