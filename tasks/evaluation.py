"""All arms play the same personas, the same judge judges them without knowing whose they are, and the pairs are compared."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field

from prefect.logging import get_run_logger

from core.errors import ModelError
from core.evaluation.comparison import compare_arms
from core.evaluation.facts import GeneralAnswer
from core.evaluation.fresh_personas import check_enough, read_personas
from core.evaluation.outcomes import Played
from core.evaluation.power import Plan
from core.evaluation.record import EvaluationRecord, PlayedFiles
from core.evaluation.safety import safety_in_reach
from core.paths import user_path
from core.records import Assessment, DatasetRef, EndReason, Persona, Record, Transcript, TranscriptRef
from core.rehearsal.personas import check_seeds_apart, sample_batch
from core.storage.store import open_store
from tasks.arms import BASE, Arm, in_memory
from tasks.assessment import judge_transcripts
from tasks.dataset import training_seeds
from tasks.generation import Rehearsal, rehearsal_name, rehearsed
from tasks.policy import first_of, side_by_side
from tasks.power import plan_evaluation
from tasks.run import Run, turn


class Part(Record):
    """A conversation that an arm is to have."""

    arm: str
    plan: Rehearsal

    @property
    def name(self) -> str:
        """What it is called in the log."""
        return f"{self.arm}, persona {self.plan.persona.seed}, trial {self.plan.trial}"


@dataclass
class Outcomes:
    """What became of the conversations, by their names.

    Args:
        made: the transcripts; lost: why there is none, or no assessment.
        broken: those that the simulated user spoiled.
        judged: paths of the assessments.
    """

    made: dict[str, TranscriptRef] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    judged: dict[str, str] = field(default_factory=dict)


def choose_personas(run: Run, given: str | None, dataset: DatasetRef | None) -> list[Persona]:
    """Return the personas that all arms meet: sampled, or a person's own; none of them was trained on.

    Args:
        given: path of a JSON or YAML file.
        dataset: what the understudy was trained on; none where that is not known.

    Raises:
        PersonaError: too few, one that was trained on, or a file that cannot be used.
    """
    numbers = run.settings.evaluation
    if given:
        personas = read_personas(user_path(given), run.pack, numbers.exchanges)
    else:
        personas = sample_batch(run.pack, numbers.first_seed, numbers.personas, (numbers.exchanges, numbers.exchanges))
    check_enough(personas, given or "evaluation.personas")
    check_seeds_apart(training_seeds(dataset) if dataset else [], [persona.seed for persona in personas])
    return personas


def tell_beforehand(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> Plan:
    """Say what the evaluation can find, before it is paid for.

    Raises:
        EvaluationError: the settings' pilot cannot be read.
    """
    numbers, logger = run.settings.evaluation, get_run_logger()
    planned = plan_evaluation(numbers, len(personas))
    logger.info("Planned: %d arms × %d personas × %d trials, %d conversations.", len(arms), len(personas), numbers.trials, len(_parts(run, personas, arms)))
    logger.info("%s", planned.text)
    if planned.smallest_difference is None:
        logger.warning("So few personas cannot show a difference. Raise evaluation.personas, or take the result for a try of the machinery.")
    logger.info("%s", safety_in_reach(len(personas), numbers.decision.safety_margin))
    return planned


async def play_and_judge(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> tuple[list[Part], Outcomes]:
    """Have every arm play every persona, and all conversations judged; what is there already is not made again.

    Raises:
        SettingsError: an arm's model does not load.
        RunStoppedError: a model cannot be asked any more, or the budget is spent; the same command goes on.
    """
    parts, found, places = _parts(run, personas, arms), Outcomes(), asyncio.Semaphore(run.settings.evaluation.arms_at_once)

    async def play(arm: Arm) -> None:
        async with places, in_memory(arm), turn(run, ("user_simulator",), arm.choice):
            await _play(arm.name, [part for part in parts if part.arm == arm.name], found, run)

    try:
        async with asyncio.TaskGroup() as group:
            for arm in arms:
                group.create_task(play(arm))
    except* Exception as errors:
        raise first_of(errors) from None
    await _judge(parts, found, run)
    return parts, found


def compare(
    run: Run, personas: Sequence[Persona], arms: Sequence[Arm], planned: Plan, general: dict[str, list[GeneralAnswer]], parts: list[Part], found: Outcomes
) -> EvaluationRecord:
    """Compare the arms.

    Raises:
        EvaluationError: an arm has completed nothing, or fewer than two personas have a pair.
    """
    numbers, rubric, logger = run.settings.evaluation, run.pack.rubric, get_run_logger()
    played = [_played(part, found) for part in parts]
    gates = [key for key, criterion in rubric.criteria.items() if criterion.head.gate]
    comparison = compare_arms(played, BASE, gates, numbers.decision, numbers.resamples)
    for arm, one in comparison.comparisons.items():
        figures = one.score
        logger.info(
            "%s %.3f, %s %.3f: difference %+.3f%s, p %.4f over %d personas. Decision: %s. %s",
            *(BASE, figures.base_mean, arm, figures.arm_mean, figures.difference),
            f" ({figures.interval[0]:+.3f} to {figures.interval[1]:+.3f})" if figures.interval else "",
            *(figures.p, figures.personas, one.decided.decision, one.decided.reason),
        )
    files = [
        PlayedFiles(arm=part.arm, persona=part.plan.persona.seed, trial=part.plan.trial, transcript=found.made[part.name].path, assessment=path)
        for part in parts
        if (path := found.judged.get(part.name))
    ]
    return EvaluationRecord(
        domain=run.pack.name,
        models={arm.name: arm.shown for arm in arms},
        files={arm.name: arm.file for arm in arms if arm.file},
        comparison=comparison,
        played=played,
        conversations=files,
        personas=list(personas),
        judges=[judge.reference for judge in run.models["judge"]],
        simulator=run.model("user_simulator").reference,
        exchanges=numbers.exchanges,
        plan=planned,
        heldout={arm.name: arm.heldout for arm in arms},
        general=general,
        caveats=_caveats(files),
    )


def _parts(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> list[Part]:
    """Plan the conversations; those of a persona and a trial stand side by side, so that arms are judged in turns."""
    settings, simulator = run.settings, run.model("user_simulator")
    return [
        Part(
            arm=arm.name,
            plan=Rehearsal(
                domain=run.pack.name,
                pack_hash=run.pack.hash,
                persona=persona,
                trial=trial,
                user_simulator=simulator,
                assistant=arm.choice,
                guidance="system",
                user_tokens=(settings.generation.max_tokens, run.most_tokens(simulator)),
                assistant_tokens=(settings.evaluation.max_tokens, run.most_tokens(arm.choice)),
                guards=settings.generation.guards,
                evaluated=True,
                minimum=settings.generation.minimum_exchanges,
                folder=f"evaluations/transcripts/{run.pack.name}",
            ),
        )
        for persona in personas
        for trial in range(settings.evaluation.trials)
        for arm in arms
    ]


async def _play(arm: str, parts: list[Part], found: Outcomes, run: Run) -> None:
    async def one(part: Part) -> TranscriptRef:
        try:
            found.made[part.name] = await rehearsed(part.plan)
        except ModelError as error:
            if error.side == "user":
                found.broken.add(part.name)
            raise
        return found.made[part.name]

    names = [part.name for part in parts]
    _, lost = await side_by_side(one, parts, names, run.settings.evaluation.concurrency, f"Played by the {arm}:")
    found.lost |= {item.name: item.reason for item in lost}


async def _judge(parts: list[Part], found: Outcomes, run: Run) -> None:
    """Have judged what can be compared."""
    for name, ref in found.made.items():
        told = _read(ref.path).provenance
        if told.get("problem_side") == "user":
            found.broken.add(name)
            found.lost[name] = str(told["problem"])
    refs = {part.name: found.made[part.name] for part in parts if part.name in found.made and part.name not in found.broken}
    assessed, unjudged = await judge_transcripts(list(refs.values()), run)
    paths = {item.transcript.id: item.path for item in assessed}
    # a panel's entry names the transcript and the judge
    reasons = {item.name.partition(" by ")[0]: item.reason for item in unjudged}
    found.judged = {name: paths[ref.id] for name, ref in refs.items() if ref.id in paths}
    found.lost |= {name: reasons.get(ref.id, "not judged") for name, ref in refs.items() if ref.id not in paths}


def _played(part: Part, found: Outcomes) -> Played:
    path = found.judged.get(part.name)
    assessment = open_store().record(path, Assessment) if path else None
    return Played(
        arm=part.arm,
        persona=part.plan.persona.seed,
        trial=part.plan.trial,
        transcript_id=rehearsal_name(part.plan),
        score=assessment.score if assessment else None,
        answers={verdict.criterion: verdict.answer for verdict in assessment.verdicts} if assessment else {},
        lost=None if assessment else found.lost.get(part.name, "no reason was recorded"),
        simulator_broke=part.name in found.broken,
    )


def _caveats(files: list[PlayedFiles]) -> list[str]:
    """Return what must be known before the figures are believed."""
    caveats, families, ends = set(), set(), {}
    for file in files:
        assessment, transcript = open_store().record(file.assessment, Assessment), _read(file.transcript)
        caveats |= {text for text in (assessment.caveat, transcript.provenance.get("caveat")) if text}
        if assessment.shared_family:
            families.add(f"A judge and the model of {file.arm} are both of the family {assessment.shared_family}, which may favour it.")
        if transcript.end_reason in (EndReason.BUDGET, EndReason.ERROR):
            ends[file.arm, transcript.end_reason] = ends.get((file.arm, transcript.end_reason), 0) + 1
    why = {EndReason.BUDGET: "its context was full (evaluation.exchanges, or the model's option context)", EndReason.ERROR: "no usable answer came"}
    return [
        *sorted(caveats),
        *sorted(families),
        *(f"{count} conversations of {arm} ended before their time, because {why[reason]}." for (arm, reason), count in sorted(ends.items())),
    ]


def _read(path: str) -> Transcript:
    return open_store().record(path, Transcript)
