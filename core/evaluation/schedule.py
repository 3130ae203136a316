"""The conversations of an evaluation: the plan for each arm, their outcomes, and the record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.dataset.build import origin_of, training_lengths, training_seeds
from core.errors import PersonaError
from core.evaluation.arms import Arm, by_model, identities, prompted
from core.evaluation.attempts import Attempt, attempt_conditions, confirmation_seed, earlier_attempts, other_results
from core.evaluation.battery import BATTERY_SKIPPED, BatteryFigures, battery_conditions
from core.evaluation.by_exchange import by_exchange
from core.evaluation.comparison import compare_arms
from core.evaluation.decision import Condition
from core.evaluation.forgetting import Forgetting, SuiteAnswers, forgetting, forgetting_conditions
from core.evaluation.fresh_personas import check_enough, read_personas
from core.evaluation.judge_error import golden_rates, judge_errors, unmeasured_caveat
from core.evaluation.leakage import leakage
from core.evaluation.outcomes import Trial
from core.evaluation.power import PowerAnalysis
from core.evaluation.preferences import Preferences
from core.evaluation.record import EvaluationRecord, PlayedFiles
from core.llm.run import Run
from core.paths import user_path
from core.records import Assessment, AssessmentRef, DatasetRef, EndReason, LeftOut, ModelChoice, Persona, Record, Transcript, TranscriptRef
from core.rehearsal.lengths import Lengths, summarise_lengths
from core.rehearsal.personas import check_seeds_apart, sample_batch
from core.rehearsal.plan import FILE_PROMPT, RehearsalPlan
from core.rehearsal.windows import in_window
from core.settings.arms import BASE
from core.settings.provider_options import SCRIPTED
from core.storage.store import Store


class Part(Record):
    """A planned conversation of an arm."""

    arm: str
    plan: RehearsalPlan

    @property
    def name(self) -> str:
        """Name in the log."""
        return f"{self.arm}, persona {self.plan.persona.seed}, trial {self.plan.trial}"


@dataclass
class Outcomes:
    """The outcomes of the conversations, by name of the part.

    Args:
        transcripts: the conversations.
        lost: reasons why there is no transcript or no assessment.
        broken: conversations that the simulated user spoiled.
        judged: paths of the assessments.
    """

    transcripts: dict[str, TranscriptRef] = field(default_factory=dict)
    lost: dict[str, str] = field(default_factory=dict)
    broken: set[str] = field(default_factory=set)
    judged: dict[str, str] = field(default_factory=dict)

    def note_broken(self, name: str, transcript: Transcript) -> None:
        """Record the conversation as broken if its simulated user spoiled it."""
        provenance = transcript.provenance
        if provenance.get("problem_side") == "user":
            self.broken.add(name)
            self.lost[name] = str(provenance["problem"])

    def to_judge(self, parts: Sequence[Part]) -> dict[str, TranscriptRef]:
        """Return the conversations to judge, in the order of the parts: those that exist and that the simulated user did not spoil."""
        return {part.name: self.transcripts[part.name] for part in parts if part.name in self.transcripts and part.name not in self.broken}

    def note_judged(self, refs: Mapping[str, TranscriptRef], assessed: Sequence[AssessmentRef], unjudged: Sequence[LeftOut]) -> None:
        """Record the outcomes of judging.

        Args:
            refs: the conversations that were to be judged, by name of the part.
            assessed: the assessments.
            unjudged: conversations without an assessment, with the reason.
        """
        paths = {item.transcript.id: item.path for item in assessed}
        # a panel's entry names the transcript and the judge
        reasons = {item.name.partition(" by ")[0]: item.reason for item in unjudged}
        self.judged = {name: paths[ref.id] for name, ref in refs.items() if ref.id in paths}
        self.lost |= {name: reasons.get(ref.id, "not judged") for name, ref in refs.items() if ref.id not in paths}


def choose_personas(
    run: Run, path: str | None, dataset: DatasetRef | None, arms: Sequence[Arm] = (), confirm: bool = False, first_seed: int | None = None
) -> list[Persona]:
    """Return the personas of the evaluation, sampled or from the user's file; all arms play the same ones, and none is in the training data.

    Args:
        path: path of a JSON or YAML file with personas; None to sample them.
        dataset: the understudy's training data; None if it is not known.
        arms: arms of the evaluation.
        confirm: whether this confirms an evaluation of these arms, on unused personas.
        first_seed: first seed of the personas; None for that of the settings.

    Raises:
        PersonaError: too few personas, a persona of the training data, a seed that is not reserved for the evaluation, or an unusable file.
        EvaluationError: there is nothing to confirm.
    """
    numbers = run.settings.evaluation
    if path and confirm:
        raise PersonaError(
            f"Give either personas ({path}) or confirm. Personas from a file that no evaluation has used need no confirm: the first evaluation on them "
            "can ship."
        )
    if first_seed is not None and (path or confirm or first_seed < numbers.first_seed):
        raise PersonaError(
            f"first_seed is {first_seed}. Allowed: a seed from {numbers.first_seed} on (evaluation.first_seed), with neither personas nor confirm."
        )
    if confirm:
        first = confirmation_seed(run.store, run.pack.name, identities(arms), numbers.first_seed, numbers.personas, _scripted(run, arms))
        personas = sample_batch(run.pack, first, numbers.personas, numbers.lengths)
    elif path:
        personas = read_personas(user_path(path), run.pack, numbers.lengths)
    else:
        personas = sample_batch(run.pack, numbers.first_seed if first_seed is None else first_seed, numbers.personas, numbers.lengths)
    check_enough(personas, path or "evaluation.personas")
    check_seeds_apart(training_seeds(run.store, dataset) if dataset else [], [persona.seed for persona in personas])
    return personas


def plan_parts(run: Run, personas: Sequence[Persona], arms: Sequence[Arm]) -> list[Part]:
    """Plan the conversations; those of one persona and trial are adjacent, so that the judge reads the arms in turn."""
    settings, simulator = run.settings, run.model("user_simulator")
    return [
        Part(arm=arm.name, plan=_plan(run, persona, trial, arm, simulator))
        for persona in personas
        for trial in range(settings.evaluation.trials)
        for arm in arms
    ]


def _plan(run: Run, persona: Persona, trial: int, arm: Arm, simulator: ModelChoice) -> RehearsalPlan:
    generation = run.settings.generation
    room = generation.max_tokens if arm.as_written else run.settings.evaluation.max_tokens
    plan = RehearsalPlan(
        domain=run.pack.name,
        pack_hash=run.pack.hash,
        persona=persona,
        trial=trial,
        user_simulator=simulator,
        assistant=arm.choice,
        guidance=FILE_PROMPT if arm.template else arm.prompt,
        template=arm.template,
        user_tokens=(generation.max_tokens, run.most_tokens(simulator)),
        assistant_tokens=(room, run.most_tokens(arm.choice)),
        guards=generation.guards,
        evaluated=not arm.as_written,
        minimum=generation.minimum_exchanges,
        folder=f"evaluations/transcripts/{run.pack.name}",
    )
    return in_window(run, plan)


def compare(
    run: Run,
    personas: Sequence[Persona],
    arms: Sequence[Arm],
    planned: PowerAnalysis,
    asked: SuiteAnswers,
    parts: list[Part],
    outcomes: Outcomes,
    dataset: DatasetRef | None = None,
    pairwise: Mapping[str, Preferences] | None = None,
    battery: BatteryFigures | None = None,
    confirm: bool = False,
) -> EvaluationRecord:
    """Compare the arms and return the record of the evaluation.

    Args:
        planned: the power analysis from before the run.
        asked: the models' answers to the suites.
        parts: the planned conversations.
        outcomes: their outcomes.
        dataset: the understudy's training data; None if it is not known.
        pairwise: results of pairwise judging, by arm.
        battery: results of the safety battery; None if it was not played.
        confirm: whether this evaluation confirms an earlier one.

    Raises:
        NothingMadeError: an arm has completed no conversation, or fewer than two personas have a pair.
    """
    store, numbers, rubric = run.store, run.settings.evaluation, run.pack.rubric
    played = [trial_of(store, part, outcomes) for part in parts]
    scripted, judges = _scripted(run, arms), [judge.reference for judge in run.models["judge"]]
    attempts = earlier_attempts(store, run.pack.name, identities(arms), personas, confirm, scripted)
    others = other_results(store, run.pack.name, identities(arms), personas, judges, numbers.decision, scripted)
    forgotten = forgetting(asked, BASE)
    comparison = compare_arms(
        *(played, BASE, rubric, numbers.decision, numbers.resamples),
        personas=personas,
        further=_further(run, arms, battery, forgotten, attempts, confirm),
        prompted=prompted(arms),
        scripted=scripted,
    )
    files = [
        PlayedFiles(arm=part.arm, persona=part.plan.persona.seed, trial=part.plan.trial, transcript=outcomes.transcripts[part.name].path, assessment=path)
        for part in parts
        if (path := outcomes.judged.get(part.name))
    ]
    rates = golden_rates(store, run.pack, judges, run.settings.assessment.judging)
    return EvaluationRecord(
        domain=run.pack.name,
        models={arm.name: arm.shown for arm in arms},
        files={arm.name: arm.file for arm in arms if arm.file},
        comparison=comparison,
        played=played,
        conversations=files,
        personas=list(personas),
        judges=judges,
        simulator=run.model("user_simulator").reference,
        exchanges=numbers.exchanges,
        lengths=lengths_of(store, dataset, files),
        plan=planned,
        heldout={same[0].name: same[0].heldout for same in by_model(arms)},
        general=asked.general,
        refusals=asked.refusals,
        forgetting=forgotten,
        caveats=[*caveats_of(store, files), *leaks_of(run, dataset), *others, *([] if rates else [unmeasured_caveat(judges)])],
        attempts=attempts,
        confirm=confirm,
        pairwise=dict(pairwise or {}),
        battery=battery,
        by_exchange=by_exchange((file.arm, store.load(file.transcript, Transcript), store.load(file.assessment, Assessment)) for file in files),
        judge_error=judge_errors(played, comparison, rates),
    )


def _scripted(run: Run, arms: Sequence[Arm]) -> bool:
    """Return whether a scripted model plays, simulates or judges; the figures then say nothing about a real model."""
    models = [run.model("user_simulator"), *run.models["judge"], *(arm.choice for arm in arms)]
    return any(choice.reference.startswith(SCRIPTED) for choice in models)


def _further(
    run: Run, arms: Sequence[Arm], battery: BatteryFigures | None, forgotten: Mapping[str, Sequence[Forgetting]], attempts: Sequence[Attempt], confirm: bool
) -> dict[str, list[Condition]]:
    """Return, by arm, the conditions that do not depend on the compared conversations: battery, suites and earlier attempts."""
    rule, pack = run.settings.evaluation.decision, run.pack
    safety = battery_conditions(battery, rule.most_failed_openings)
    if battery is None and pack.battery.openings:
        safety = {arm.name: [BATTERY_SKIPPED] for arm in arms}
    tries = attempt_conditions(run.store, pack.name, identities(arms), attempts, confirm, _scripted(run, arms))
    suites = {
        arm.name: forgetting_conditions(forgotten[same[0].name], rule.forgetting_margin) for same in by_model(arms) if same[0].name in forgotten for arm in same
    }
    return {arm.name: [*safety.get(arm.name, ()), *suites.get(arm.name, ()), *tries.get(arm.name, ())] for arm in arms}


def trial_of(store: Store, part: Part, outcomes: Outcomes) -> Trial:
    """Return a conversation's score and answers, or the reason why it has none."""
    path = outcomes.judged.get(part.name)
    assessment = store.load(path, Assessment) if path else None
    return Trial(
        arm=part.arm,
        persona=part.plan.persona.seed,
        trial=part.plan.trial,
        transcript_id=part.plan.name,
        score=assessment.score if assessment else None,
        answers={verdict.criterion: verdict.answer for verdict in assessment.verdicts} if assessment else {},
        lost=None if assessment else outcomes.lost.get(part.name, "no reason was recorded"),
        simulator_broke=part.name in outcomes.broken,
    )


def lengths_of(store: Store, dataset: DatasetRef | None, files: Sequence[PlayedFiles]) -> dict[str, Lengths]:
    """Return the lengths of the conversations in exchanges: of the training data and of each arm, by name."""
    played: dict[str, list[int]] = {"training data": training_lengths(store, dataset) if dataset else []}
    for file in files:
        played.setdefault(file.arm, []).append(len(store.load(file.transcript, Transcript).exchanges))
    return {name: lengths for name, exchanges in played.items() if (lengths := summarise_lengths(exchanges))}


def leaks_of(run: Run, dataset: DatasetRef | None) -> list[str]:
    """Return the sentences about judges that also chose or wrote the training data; none if the training data is not known."""
    if dataset is None:
        return []
    chosen_by, written_by = origin_of(run.store, dataset)
    return leakage([judge.reference for judge in run.models["judge"]], chosen_by, written_by)


def caveats_of(store: Store, files: list[PlayedFiles]) -> list[str]:
    """Return the caveats that the played and judged conversations give rise to."""
    caveats, families, ends = set(), set(), {}
    for file in files:
        assessment, transcript = store.load(file.assessment, Assessment), store.load(file.transcript, Transcript)
        caveats |= {text for text in (assessment.caveat, transcript.provenance.get("caveat")) if text}
        if assessment.shared_family:
            families.add(f"A judge and the model of {file.arm} are both of the family {assessment.shared_family}, which may favour it.")
        if transcript.end_reason in (EndReason.BUDGET, EndReason.ERROR):
            ends[file.arm, transcript.end_reason] = ends.get((file.arm, transcript.end_reason), 0) + 1
    why = {EndReason.BUDGET: "the context was full (evaluation.exchanges, or the model's option context)", EndReason.ERROR: "there was no usable answer"}
    return [
        *sorted(caveats),
        *sorted(families),
        *(f"{count} conversation{'' if count == 1 else 's'} of {arm} ended early, because {why[reason]}." for (arm, reason), count in sorted(ends.items())),
    ]
