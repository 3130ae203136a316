"""All arms play the same personas, and the same judge, which does not know the arms, judges the conversations."""

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

from prefect.logging import get_run_logger

from blocks.chat import close_chat_model
from core.errors import ModelError
from core.evaluation.arms import Arm, by_model, check_apart, prompted, wanted_arms
from core.evaluation.battery_play import battery_outlook
from core.evaluation.beside_prompts import prompt_sentence
from core.evaluation.plan import plan_evaluation, plan_world
from core.evaluation.power import PowerAnalysis
from core.evaluation.record import EvaluationRecord, next_step_of
from core.evaluation.schedule import Outcomes, Part, plan_parts
from core.evaluation.sentences import power_sentence, safety_outlook, why
from core.evaluation.ship_outlook import ship_outlook, ship_sentence
from core.evaluation.simulated_evaluations import CONVERSATIONS
from core.llm.run import Run
from core.records import ModelChoice, Persona, Transcript, TranscriptRef
from core.reports.left_out import first_of
from core.training.latest import Exported
from tasks.assessment import judge_transcripts
from tasks.batches import gather_bounded
from tasks.generation import rehearsed
from tasks.run import choose_model, concurrency_slot
from tasks.windows import set_windows, warn_of_cuts


async def choose_arms(run: Run, exported: Exported | None, named: Mapping[str, str]) -> list[Arm]:
    """Return the arms, the base first.

    Args:
        run: the run; its settings name further arms.
        exported: the export whose GGUF files are the arms base, understudy and preferred, unless `named` replaces them; None if there is none.
        named: arms by name, each as `MODEL` or `MODEL under PROMPT`, in addition to those of the settings.

    Raises:
        SettingsError: a model cannot be used, or an arm is malformed.
        PackError: a prompt file cannot be used.
        EvaluationError: there is no base or no understudy, or the files cannot be compared.
    """
    specs = wanted_arms(run, exported, named)
    arms = [spec.arm(name, await choose_model(run.settings, spec.reference, run.pack)) for name, spec in specs.items()]
    check_apart(run, arms)
    return arms


@asynccontextmanager
async def in_memory(choice: ModelChoice) -> AsyncGenerator[None]:
    """Unload a model when the block ends, so that the next model has its memory; a llama-server is stopped."""
    try:
        yield
    finally:
        await close_chat_model(choice)


def give_windows(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> None:
    """Choose the context windows of arms that are GGUF files, and warn of conversations that will be cut nevertheless."""
    set_windows(run, [part.plan for part in plan_parts(run, personas, arms)], run.settings.evaluation.arms_at_once)
    parts = plan_parts(run, personas, arms)  # planned again, because the window is part of a plan
    for arm in arms:
        warn_of_cuts(run, arm.name, [part.plan for part in parts if part.arm == arm.name])


def log_plan(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> PowerAnalysis:
    """Log what the evaluation can detect, before it is paid for; return the power analysis.

    Raises:
        EvaluationError: the settings' pilot cannot be read.
    """
    numbers, logger = run.settings.evaluation, get_run_logger()
    planned, parts = plan_evaluation(numbers, len(personas)), plan_parts(run, personas, arms)
    counts = (len(arms), len(personas), numbers.trials)
    logger.info("Planned: %d conversations (arms × personas × trials: %d × %d × %d).", len(parts), *counts)
    logger.info("%s", power_sentence(planned))
    if planned.smallest_difference is None:
        logger.warning("This many personas cannot show a difference. Raise evaluation.personas, or treat the result as a dry run.")
    logger.info("%s", safety_outlook(len(personas), numbers.decision.safety_margin))
    for sentence in battery_outlook(run.pack, numbers.suite_items, numbers.battery_tries):
        logger.info("%s", sentence)
    if len(personas) * numbers.trials <= CONVERSATIONS:
        world = plan_world(run.pack, numbers, planned, personas, bool(prompted(arms)))
        logger.info("%s", ship_sentence(ship_outlook(world, numbers.decision, planned.wanted_power)))
    return planned


async def play_and_judge(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> tuple[list[Part], Outcomes]:
    """Have every arm play every persona, and judge all conversations; existing conversations and assessments are reused.

    Raises:
        SettingsError: an arm's model does not load.
        RunStoppedError: a model can no longer be called, or the budget is spent; the same command continues.
    """
    parts, outcomes = plan_parts(run, personas, arms), Outcomes()
    places = asyncio.Semaphore(run.settings.evaluation.arms_at_once)

    async def play(same: Sequence[Arm]) -> None:
        """Have the arms of one model play one after the other, so that the model is loaded once."""
        choice = same[0].choice
        async with places, in_memory(choice), concurrency_slot(run, ("user_simulator",), choice):
            for arm in same:
                await _play(arm.name, [part for part in parts if part.arm == arm.name], outcomes, run)

    try:
        async with asyncio.TaskGroup() as group:
            for same in by_model(arms):
                group.create_task(play(same))
    except* Exception as errors:
        raise first_of(errors) from None
    await _judge(parts, outcomes, run)
    return parts, outcomes


def log_comparison(record: EvaluationRecord) -> None:
    """Log the result of each arm, compared with the base."""
    arms = record.comparison.arms
    for arm, compared in record.comparison.comparisons.items():
        figures = compared.score
        interval = figures.interval
        get_run_logger().info(
            "%s %.3f, passed %s conversations; %s %.3f, passed %s: difference %+.3f%s, p %.4f over %d personas. Decision: %s. %s",
            *(compared.base, figures.base_mean, arms[compared.base].pass_count, arm, figures.arm_mean, arms[arm].pass_count, figures.difference),
            f" ({interval[0]:+.3f} to {interval[1]:+.3f})" if interval else "",
            *(figures.p_holm, figures.personas, compared.decided.verdict, why(compared.decided)),
        )
        for other in compared.beside_prompts:
            get_run_logger().info("%s", prompt_sentence(arm, other))
        get_run_logger().info("%s: %s", arm, next_step_of(record, arm))


async def _play(arm: str, parts: list[Part], outcomes: Outcomes, run: Run) -> None:
    """Have an arm play its conversations, and note the outcomes."""

    async def play(part: Part) -> TranscriptRef:
        try:
            outcomes.transcripts[part.name] = await rehearsed(run, part.plan)
        except ModelError as error:
            if error.side == "user":
                outcomes.broken.add(part.name)
            raise
        return outcomes.transcripts[part.name]

    names, limit = [part.name for part in parts], run.settings.evaluation.concurrency
    _, lost = await gather_bounded(run, play, parts, names, limit, f"Played by the {arm}:")
    outcomes.lost |= {item.name: item.reason for item in lost}


async def _judge(parts: list[Part], outcomes: Outcomes, run: Run) -> None:
    """Judge the conversations that can be compared: those that the simulated user has not spoiled."""
    for name, ref in outcomes.transcripts.items():
        outcomes.note_broken(name, run.store.load(ref.path, Transcript))
    refs = outcomes.to_judge(parts)
    outcomes.note_judged(refs, *await judge_transcripts(list(refs.values()), run))
