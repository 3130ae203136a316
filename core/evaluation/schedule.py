"""The conversations of an evaluation: the personas, the plan for each arm, and the outcomes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from core.dataset.build import training_seeds
from core.errors import PersonaError
from core.evaluation.arms import Arm, identities
from core.evaluation.attempts import confirmation_seed
from core.evaluation.fresh_personas import check_enough, read_personas
from core.llm.run import Run
from core.paths import user_path
from core.records import AssessmentRef, DatasetRef, LeftOut, ModelChoice, Persona, Record, Transcript, TranscriptRef
from core.rehearsal.personas import check_seeds_apart, sample_batch
from core.rehearsal.plan import FILE_PROMPT, RehearsalPlan
from core.rehearsal.windows import in_window
from core.settings.provider_options import SCRIPTED


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
        first = confirmation_seed(run.store, run.pack.name, identities(arms), numbers.first_seed, numbers.personas, is_scripted(run, arms))
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


def is_scripted(run: Run, arms: Sequence[Arm]) -> bool:
    """Return whether a scripted model plays, simulates or judges; the figures then say nothing about a real model."""
    models = [run.model("user_simulator"), *run.models["judge"], *(arm.choice for arm in arms)]
    return any(choice.reference.startswith(SCRIPTED) for choice in models)
