"""The safety battery: every arm answers the pack's openings, and the judges judge each conversation on the gate that its opening tests."""

from collections.abc import Mapping, Sequence

from prefect.logging import get_run_logger

from core.evaluation.arms import Arm, by_model
from core.evaluation.battery import BatteryFigures, battery_figures
from core.evaluation.battery_play import BatteryPlan, battery_item, plan_battery, play_opening
from core.judging.plan import decide_all, plan_assessment
from core.llm.run import Run
from core.records import AssessmentRef, Transcript, TranscriptRef
from core.rehearsal.turn_log import FOLDER, TurnLog
from core.settings.arms import BASE
from tasks.assessment import judge_plans
from tasks.batches import gather_bounded
from tasks.evaluation import in_memory
from tasks.owning import LOCK, owned
from tasks.policy import cached_task, existing, run_cached
from tasks.run import concurrency_slot, log_bill, open_model


@cached_task("battery", "play {plan.opening.id}")
async def battery_task(run: Run, plan: BatteryPlan) -> TranscriptRef:
    """Play one conversation of the battery and store it, unless it exists."""
    store = run.store
    if store.exists(plan.path):
        return existing(TranscriptRef(id=plan.name, path=plan.path, exchanges=len(store.load(plan.path, Transcript).exchanges)))
    model, lock = await open_model(run, plan.assistant), LOCK.get()
    log = TurnLog(store, plan.name, lock=lock)
    if log.damage:
        get_run_logger().warning(log.damage)
    transcript = await play_opening(run.pack, plan, model, log)
    if lock:
        lock.check()
    store.write_json(plan.path, transcript)
    log.remove()
    return TranscriptRef(id=plan.name, path=plan.path, exchanges=len(transcript.exchanges))


async def play_battery(run: Run, arms: Sequence[Arm]) -> BatteryFigures | None:
    """Have every arm play the battery, one model in memory at a time, and judge every conversation on its gate.

    Returns:
        The figures; None if the pack has no battery.

    Raises:
        SettingsError: an arm's model does not load.
        RunStoppedError: a model can no longer be called, or the budget is spent; the same command continues.
    """
    plans = {arm.name: plan_battery(run, arm) for arm in arms}
    transcripts: dict[str, TranscriptRef] = {}
    lost: dict[tuple[str, str], str] = {}
    for same in by_model(arms) if any(plans.values()) else []:
        async with in_memory(same[0].choice), concurrency_slot(run, (), same[0].choice):
            for arm in same:
                lost |= {(arm.name, name): reason for name, reason in (await _play(run, arm, plans[arm.name], transcripts)).items()}
    # the arms alternate, so that a judge cannot tell from the order which arm it reads
    refs = {
        transcripts[plan.name].id: (transcripts[plan.name], plan.opening.gate)
        for each in zip(*plans.values(), strict=True)
        for plan in each
        if plan.name in transcripts
    }
    judged = await _judge(run, refs)
    items = [
        battery_item(run.store, arm, plan, transcripts.get(plan.name), judged.get(plan.name), lost.get((arm, plan.name)))
        for arm, own in plans.items()
        for plan in own
    ]
    numbers = run.settings.evaluation
    return battery_figures(items, BASE, run.pack.battery.margins, numbers.battery_tries)


async def _play(run: Run, arm: Arm, plans: Sequence[BatteryPlan], transcripts: dict[str, TranscriptRef]) -> dict[str, str]:
    """Play an arm's conversations and add them to `transcripts`; return by name why the others are missing."""

    async def play(plan: BatteryPlan) -> TranscriptRef:
        async with owned(run.store, f"{FOLDER}/{plan.name}"):
            transcripts[plan.name] = await run_cached(battery_task, run, plan)
        return transcripts[plan.name]

    names = [plan.name for plan in plans]
    _, left_out = await gather_bounded(run, play, plans, names, run.settings.evaluation.concurrency, f"Safety battery played by the {arm.name}:")
    log_bill(run)
    return {item.name: item.reason for item in left_out}


async def _judge(run: Run, refs: Mapping[str, tuple[TranscriptRef, str]]) -> dict[str, AssessmentRef]:
    """Judge each conversation on its gate; return the outcomes by the transcript's id.

    Args:
        run: the run, with its judges.
        refs: by the transcript's id, the transcript and its gate.
    """
    judges = run.models["judge"]
    plans = [plan_assessment(run, ref, judge, only=[gate]) for ref, gate in refs.values() for judge in judges]
    by_key, _ = await judge_plans(plans, run, "Safety battery judged:")
    outcomes: list[AssessmentRef] = []
    for name, (_, gate) in refs.items():
        outcomes += decide_all(run, [{judge.reference: by_key.get((name, judge.reference, 0)) for judge in judges}], [gate])
    return {ref.transcript.id: ref for ref in outcomes}
