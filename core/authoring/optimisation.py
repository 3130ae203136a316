"""The optimisation of a system prompt: its personas, the plan of each conversation, and its stored result."""

from core.authoring.prompt_search import MINIBATCH, Candidate, Played, PromptSearch, Step, shared_means
from core.authoring.start_prompts import prompt_file
from core.errors import PersonaError, SettingsError
from core.llm.run import Run
from core.packs.pack import Pack
from core.records import Assessment, AssessmentRef, ModelChoice, Outcome, Persona, Record, Transcript, TranscriptRef
from core.rehearsal.personas import sample_batch
from core.rehearsal.plan import FILE_PROMPT, RehearsalPlan
from core.rehearsal.windows import in_window
from core.storage.store import Store

LOCAL_FILES = ("llama-cpp", "llama-server")
"""Providers whose models are GGUF files on this machine."""
FOLDER = "optimisations"
"""Folder below the data root; nothing in it is used for training or evaluation."""


class Optimisation(Record):
    """The result of a search, finished or not.

    Args:
        start: name of the prompt that the search began with.
        budget: conversations that it may play.
        spent: conversations that it has played.
        best: index of the chosen candidate.
        file: path of the chosen prompt; None where no candidate is better than the start.
        stopped: why the search ended before its budget was used up; None where it did not.
    """

    domain: str
    model: str
    start: str
    budget: int
    spent: int
    candidates: list[Candidate]
    steps: list[Step]
    best: int
    file: str | None
    stopped: str | None

    @property
    def gain(self) -> tuple[float | None, float | None]:
        """Mean scores of the start and of the best candidate, over the personas with which both were judged."""
        return shared_means(self.candidates[0].played, self.candidates[self.best].played)

    @property
    def lineage(self) -> list[Candidate]:
        """The candidates from the start to the best."""
        place: int | None = self.best
        line: list[Candidate] = []
        while place is not None:
            line.insert(0, self.candidates[place])
            place = line[0].parent
        return line


def split_personas(run: Run) -> tuple[list[Persona], list[Persona]]:
    """Return the reflection personas, whose conversations prompts are written from, and the selection personas, by whose scores one is chosen.

    Both are training personas, and no persona is in both sets.

    Raises:
        PersonaError: they would reach the seeds that are kept for the evaluation.
        SettingsError: the conversations are not enough for one candidate.
    """
    settings, numbers = run.settings, run.settings.optimise
    first, count = settings.generation.first_seed, 2 * numbers.personas
    if first + count > settings.evaluation.first_seed:
        raise PersonaError(
            f"optimise.personas is {numbers.personas}; twice as many seeds are needed from seed {first} on, but those from {settings.evaluation.first_seed} on "
            "are kept for the evaluation. Ask for fewer, or raise evaluation.first_seed."
        )
    if numbers.conversations < (least := count + 2 * MINIBATCH):
        raise SettingsError(
            f"optimise.conversations is {numbers.conversations}. The start and one candidate need {least} with optimise.personas {numbers.personas}. "
            "Raise the one, or lower the other."
        )
    personas = sample_batch(run.pack, first, count, settings.evaluation.lengths)
    return personas[: numbers.personas], personas[numbers.personas :]


def plan_candidate(run: Run, choice: ModelChoice, text: str, persona: Persona) -> RehearsalPlan:
    """Return the plan of a conversation as in an evaluation, with a candidate's text in place of the short system prompt."""
    generation, simulator = run.settings.generation, run.model("user_simulator")
    plan = RehearsalPlan(
        domain=run.pack.name,
        pack_hash=run.pack.hash,
        persona=persona,
        trial=0,
        user_simulator=simulator,
        assistant=choice,
        guidance=FILE_PROMPT,
        template=prompt_file(text),
        user_tokens=(generation.max_tokens, run.most_tokens(simulator)),
        assistant_tokens=(run.settings.evaluation.max_tokens, run.most_tokens(choice)),
        minimum=generation.minimum_exchanges,
        guards=generation.guards,
        evaluated=True,
        folder=f"{FOLDER}/{run.pack.name}/transcripts",
    )
    return in_window(run, plan)


def spoiled(store: Store, ref: TranscriptRef) -> bool:
    """Return whether the simulated user, and not the model, spoiled a conversation."""
    return store.load(ref.path, Transcript).provenance.get("problem_side") == "user"


def played_of(store: Store, seed: int, ref: AssessmentRef | None) -> Played:
    """Return the result of a conversation.

    Args:
        seed: the persona's.
        ref: its assessment; None where there is none.
    """
    if ref is None or ref.outcome is Outcome.INCOMPLETE:
        return Played(seed=seed)
    score = store.load(ref.path, Assessment).score
    return Played(seed=seed, score=score.score, failed_gates=tuple(score.failed_gates), transcript=ref.transcript.path, assessment=ref.path)


def shown_model(reference: str) -> str:
    """Return a model's name for reports: a model in a file is named without the path, which means nothing on another machine."""
    provider, _, path = reference.partition("/")
    return f"{provider}/{path.rpartition('/')[2]}" if provider in LOCAL_FILES else reference


def optimisation_of(pack: Pack, model: str, start: str, search: PromptSearch, file: str | None, stopped: str | None) -> Optimisation:
    """Return the result of a search so far.

    Args:
        model, start, file, stopped: as in `Optimisation`.
    """
    return Optimisation(
        domain=pack.name,
        model=shown_model(model),
        start=start,
        budget=search.budget,
        spent=search.spent,
        candidates=search.candidates,
        steps=search.steps,
        best=search.candidates.index(search.best()),
        file=file,
        stopped=stopped,
    )
