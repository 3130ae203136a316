"""Rehearsal: one task a conversation."""

from collections.abc import Callable, Sequence
from contextvars import ContextVar

from prefect.logging import get_run_logger

from core.errors import DamagedError, PersonaError
from core.fingerprint import fingerprint
from core.packs.pack import load_pack
from core.records import LeftOut, ModelChoice, Persona, Record, Transcript, TranscriptBatch, TranscriptRef
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_batch
from core.rehearsal.turn_log import FOLDER, TurnLog
from core.rehearsal.turns import Cast, Player
from core.reports.progress import Progress
from core.settings.faults import Fault
from core.storage.store import open_store
from tasks.owning import LOCK, owned
from tasks.policy import cached_task, existing, fail_if_nothing, run_cached, side_by_side
from tasks.progress import told
from tasks.run import Run, log_bill, open_model, turn

PROGRESS: ContextVar[Progress | None] = ContextVar("progress", default=None)
"""Of the batch under way."""


class Rehearsal(Record):
    """All that one conversation depends on; its fingerprint is the transcript's name.

    Args:
        guidance: name of the prompt that the assistant is given.
        user_tokens, assistant_tokens: room for one message, and the most that a prompt and its answer may take together.
        guards: faults for which a message is written again; evaluated: whether the assistant's are taken as they are.
        folder: where the transcript is put, below the data root.
    """

    domain: str
    pack_hash: str
    persona: Persona
    trial: int
    user_simulator: ModelChoice
    assistant: ModelChoice
    guidance: str
    user_tokens: tuple[int, int]
    assistant_tokens: tuple[int, int]
    minimum: int
    guards: list[Fault]
    evaluated: bool
    folder: str


def rehearsal_name(plan: Rehearsal) -> str:
    """Return the id of the transcript that a rehearsal makes."""
    guidance = load_pack(plan.domain).prompts[plan.guidance].render()
    return f"{plan.persona.seed:05d}-{fingerprint([plan.model_dump(exclude={'folder'}), guidance])}"


@cached_task("rehearse", "rehearse persona {plan.persona.seed}")
async def rehearse_task(plan: Rehearsal) -> TranscriptRef:
    """Play one conversation and store it; one that is there already is not played again."""
    pack = load_pack(plan.domain)
    name = rehearsal_name(plan)
    path = f"{plan.folder}/{name}.json"
    store = open_store()
    if store.exists(path):
        return existing(TranscriptRef(id=name, path=path, exchanges=len(store.record(path, Transcript).exchanges)))
    guidance = pack.prompts[plan.guidance].render()
    user = Player(await open_model(plan.user_simulator), *plan.user_tokens, tuple(plan.guards))
    assistant = Player(await open_model(plan.assistant), *plan.assistant_tokens, () if plan.evaluated else tuple(plan.guards))
    cast = Cast(user, assistant, guidance, plan.minimum)
    progress = PROGRESS.get() or Progress(1, plan.persona.exchanges)
    log = TurnLog(store, name, lambda: progress.say(name), LOCK.get())
    if log.damage:
        get_run_logger().warning(log.damage)
    progress.resume(name, len(log.turns) // 2)
    transcript = await rehearse(pack, plan.persona, cast, name, plan.trial, log)
    if lock := LOCK.get():
        lock.check()
    store.write_json(path, transcript)
    log.remove()
    return TranscriptRef(id=name, path=path, exchanges=len(transcript.exchanges))


async def rehearsed(plan: Rehearsal) -> TranscriptRef:
    """Return the transcript of a rehearsal, which one run at a time plays.

    Raises:
        HeldError: another run plays it at the moment.
        ModelError: a model gave no usable message.
        DamagedError: what is there is no transcript any more.
    """
    async with owned(f"{FOLDER}/{rehearsal_name(plan)}"):
        return await run_cached(rehearse_task, plan)


def plan_batch(run: Run, conversations: int | None, first_seed: int | None) -> list[Rehearsal]:
    """Sample the personas of a batch, by default as many as the settings say.

    Raises:
        PersonaError: the batch would use seeds that are kept for the evaluation.
    """
    pack, settings, generation = run.pack, run.settings, run.settings.generation
    count = generation.conversations if conversations is None else conversations
    first = generation.first_seed if first_seed is None else first_seed
    if count < 1 or first < 0:
        raise PersonaError(f"Asked for {count} conversations from seed {first} on. Allowed: at least 1, from seed 0 on.")
    if first + count > settings.evaluation.first_seed:
        raise PersonaError(
            f"Asked for {count} conversations from seed {first} on; the seeds from {settings.evaluation.first_seed} on are kept for the evaluation. "
            "Ask for fewer, or raise evaluation.first_seed."
        )
    return plan_personas(run, sample_batch(pack, first, count, generation.exchanges))


def plan_personas(run: Run, personas: Sequence[Persona]) -> list[Rehearsal]:
    """Plan a rehearsal with each persona."""
    pack, generation = run.pack, run.settings.generation
    return [
        Rehearsal(
            domain=pack.name,
            pack_hash=pack.hash,
            persona=persona,
            trial=0,
            user_simulator=run.model("user_simulator"),
            assistant=run.model("assistant"),
            guidance="assistant",
            user_tokens=(generation.max_tokens, run.most_tokens(run.model("user_simulator"))),
            assistant_tokens=(generation.max_tokens, run.most_tokens(run.model("assistant"))),
            minimum=generation.minimum_exchanges,
            guards=generation.guards,
            evaluated=False,
            folder=f"transcripts/{pack.name}",
        )
        for persona in personas
    ]


async def rehearse_batch(plans: list[Rehearsal], run: Run, over: Callable[[], bool] = lambda: False) -> str:
    """Rehearse many conversations side by side.

    Args:
        over: says whether no conversation may be begun any more.

    Returns:
        Name of the batch's file below the data root.
    """
    names = [f"persona {plan.persona.seed}" for plan in plans]
    progress = Progress(len(plans), sum(plan.persona.exchanges for plan in plans))
    PROGRESS.set(progress)

    async def one(plan: Rehearsal) -> TranscriptRef:
        ref = await rehearsed(plan)
        progress.end(ref.id, plan.persona.exchanges, ref.exchanges)
        return ref

    async with turn(run, ("user_simulator", "assistant")), told(run, progress, f"generation-{run.pack.name}"):
        limit = run.settings.generation.concurrency
        made, left_out = await side_by_side(one, plans, names, limit, "Rehearsed", lambda: progress.line(run.ledger.bill), over, count_items=False)
    log_bill(run)
    batch = TranscriptBatch(domain=plans[0].domain, transcripts=made, left_out=left_out)
    return open_store().write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)


def check_rehearsed(batch_path: str) -> None:
    """See that a batch has a conversation.

    Raises:
        NothingMadeError: each of them failed.
    """
    batch = open_store().record(batch_path, TranscriptBatch)
    fail_if_nothing(len(batch.transcripts), batch.left_out, "conversations")


def collect_batch(plans: Sequence[Rehearsal]) -> str:
    """Make a batch of what is there of the planned conversations, made by whatever run; return its name."""
    store, made, left_out = open_store(), [], []
    for plan in plans:
        name = rehearsal_name(plan)
        path = f"{plan.folder}/{name}.json"
        reason = "its shard did not make it; the log of that run says why"
        try:
            if store.exists(path):
                made.append(TranscriptRef(id=name, path=path, exchanges=len(store.record(path, Transcript).exchanges)))
                continue
        except DamagedError as damaged:
            reason = str(damaged)
        left_out.append(LeftOut(name=f"persona {plan.persona.seed}", reason=reason))
    batch = TranscriptBatch(domain=plans[0].domain, transcripts=made, left_out=left_out)
    return store.write_json(f"batches/transcripts-{fingerprint(batch)}.json", batch)
