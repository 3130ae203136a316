"""Both arms play the same personas, the same judge judges them, and the pairs are compared."""

from prefect.logging import get_run_logger

from core.comparison import Arm, Played, compare
from core.fingerprint import fingerprint
from core.personas import check_seeds_apart, sample_batch
from core.records import Assessment, DatasetRef, EvaluationRef, ModelChoice, ModelRef, Persona, TranscriptRef
from core.references import model_settings
from core.settings import Training
from core.store import open_store
from tasks.assessment import judge_transcripts
from tasks.dataset import training_seeds
from tasks.generation import Rehearsal, rehearse_task
from tasks.policy import ensured, side_by_side
from tasks.run import Run, turn


async def evaluate_arms(run: Run, models: dict[Arm, ModelRef], dataset: DatasetRef, training: Training) -> EvaluationRef:
    """Play, judge and compare.

    Args:
        models: the folders of GGUF files, by arm.
        dataset: what the understudy was trained on; none of its personas may be played here.

    Raises:
        PersonaError: an evaluation persona was trained on.
        EvaluationError: too few pairs were completed.
    """
    numbers = run.settings.evaluation
    personas = sample_batch(run.pack, numbers.first_seed, numbers.personas, (numbers.exchanges, numbers.exchanges))
    check_seeds_apart(training_seeds(dataset), [persona.seed for persona in personas])
    played: list[Played] = []
    conversations: list[tuple[str, str, str]] = []
    # one arm after the other, so that one model is in memory at a time
    for arm, model in models.items():
        gguf = f"llama-cpp/{model.path}/{model.name}-{training.quantisations[0]}.gguf"
        plans = _plans(run, personas, ModelChoice(reference=gguf, options=model_settings(run.settings, gguf).options))
        found, read = await _play_and_judge(arm, plans, run)
        played += found
        conversations += read
    comparison = compare(played, numbers.decision, numbers.resamples)
    get_run_logger().info(
        "Base %.3f, understudy %.3f, p %.3f over %d personas: %s.",
        comparison.base_mean,
        comparison.understudy_mean,
        comparison.p_value,
        comparison.personas,
        comparison.decision,
    )
    result = {"comparison": comparison.model_dump(mode="json"), "played": [item.model_dump(mode="json") for item in played]}
    path = open_store().write_json(f"evaluations/comparison-{fingerprint(result)}.json", result)
    return EvaluationRef(path=path, conversations=conversations)


def _plans(run: Run, personas: list[Persona], gguf: ModelChoice) -> list[Rehearsal]:
    pack, settings = run.pack, run.settings
    return [
        Rehearsal(
            domain=pack.name,
            pack_hash=pack.hash,
            persona=persona,
            trial=trial,
            user_simulator=run.model("user_simulator"),
            assistant=gguf,
            guidance="system",
            user_tokens=(settings.generation.max_tokens, run.most_tokens(run.model("user_simulator"))),
            assistant_tokens=(settings.evaluation.max_tokens, run.most_tokens(gguf)),
            guards=settings.generation.guards,
            evaluated=True,
            minimum=settings.generation.minimum_exchanges,
            folder=f"evaluations/transcripts/{pack.name}",
        )
        for persona in personas
        for trial in range(settings.evaluation.trials)
    ]


async def _play_and_judge(arm: Arm, plans: list[Rehearsal], run: Run) -> tuple[list[Played], list[tuple[str, str, str]]]:
    names = {f"{arm}, persona {plan.persona.seed}, trial {plan.trial}": plan for plan in plans}
    made: dict[str, TranscriptRef] = {}

    async def one(name: str) -> TranscriptRef:
        made[name] = await ensured(rehearse_task, TranscriptRef, names[name])
        return made[name]

    async with turn(run, ("user_simulator",)):
        _, lost = await side_by_side(one, list(names), list(names), run.settings.evaluation.concurrency, f"Played by the {arm}:")
    assessed, unjudged = await judge_transcripts(list(made.values()), run)
    paths = {item.transcript.id: item.path for item in assessed}
    reasons = {item.name: item.reason for item in [*lost, *unjudged]}
    played, conversations = [], []
    for name, plan in names.items():
        ref = made.get(name)
        path = paths.get(ref.id) if ref else None
        if ref and path:
            conversations.append((arm, ref.path, path))
        score = Assessment.model_validate_json(open_store().read(path)).score if path else None
        played.append(
            Played(
                arm=arm,
                persona=plan.persona.seed,
                trial=plan.trial,
                transcript_id=ref.id if ref else None,
                score=score,
                lost=None if score else _reason(reasons, name, ref),
            )
        )
    return played, conversations


def _reason(reasons: dict[str, str], name: str, ref: TranscriptRef | None) -> str:
    return reasons.get(name) or (reasons.get(ref.id) if ref else None) or "no reason was recorded"
