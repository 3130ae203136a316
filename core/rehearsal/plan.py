"""Plans of rehearsals: what each conversation depends on, its name and path, and the batch of the finished conversations."""

from collections.abc import Mapping, Sequence
from functools import cached_property, lru_cache
from pathlib import Path
from typing import overload

from core.errors import DamagedError, PersonaError
from core.fingerprint import fingerprint
from core.llm.chat import ChatModel
from core.llm.run import Run
from core.packs.pack import load_pack
from core.packs.prompts import check_prompt
from core.records import LeftOut, ModelChoice, Persona, Record, Transcript, TranscriptBatch, TranscriptRef
from core.rehearsal.personas import draw_length, sample_persona
from core.rehearsal.turns import Cast, Player
from core.settings.faults import Fault
from core.storage.store import Store

FILE_PROMPT = "file"
"""Name of a prompt whose text is part of the plan. It is not the file's path, so the file may be moved."""


class RehearsalPlan(Record):
    """Everything that one conversation depends on; the transcript's name contains its fingerprint.

    Args:
        trial: number of this conversation among several with the same persona.
        guidance: name of the pack's prompt for the assistant, or `FILE_PROMPT`.
        user_tokens, assistant_tokens: maximum tokens of one message, and of a prompt and its
            answer together.
        minimum: number of the first exchange in which the user may say goodbye.
        guards: faults for which a message is written again.
        evaluated: whether the assistant is a model under evaluation, whose faulty answers are kept.
        folder: folder of the transcript, below the data root.
        template: text of a prompt file, rendered with the same inputs as the pack's prompts; None for a prompt of
            the pack. The transcript's name depends on the rendered text.
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
    template: str | None = None

    @cached_property
    def name(self) -> str:
        """The transcript's id."""
        fields = self.model_dump(exclude={"folder", "template"})
        return f"{self.persona.seed:05d}-{fingerprint([fields, self.guidance_text])}"

    @property
    def path(self) -> str:
        """The transcript's path, below the data root."""
        return f"{self.folder}/{self.name}.json"

    @cached_property
    def guidance_text(self) -> str:
        """The assistant's rendered prompt."""
        return _guidance(self.domain, self.pack_hash, self.guidance, self.template, self.persona.country)

    def cast(self, user: ChatModel, assistant: ChatModel, window: int | None = None) -> Cast:
        """Return the players of the conversation.

        Args:
            user, assistant: clients of the two models.
            window: tokens of the assistant's context window, which may be fewer than the plan allows; None if it is unknown.
        """
        guards, (room, most) = tuple(self.guards), self.assistant_tokens
        return Cast(
            Player(user, *self.user_tokens, guards),
            Player(assistant, room, min(most, window or most), () if self.evaluated else guards),
            self.guidance_text,
            self.minimum,
            # a deployed model receives no notes, so only the assistant that writes training data gets them
            noted=self.guidance == "assistant" and not self.evaluated,
        )

    def existing(self, store: Store) -> TranscriptRef | None:
        """Return a reference to the transcript, or None if it does not exist.

        Raises:
            DamagedError: the file is not a transcript.
        """
        if not store.exists(self.path):
            return None
        exchanges = len(store.load(self.path, Transcript).exchanges)
        return TranscriptRef(id=self.name, path=self.path, exchanges=exchanges)


@lru_cache(maxsize=512)  # one entry per country of a batch's personas and per compared prompt
def _guidance(domain: str, _pack_hash: str, prompt: str, template: str | None, country: str | None) -> str:
    pack = load_pack(domain)
    return pack.instructions(prompt, country) if template is None else pack.fill(check_prompt(Path(prompt), template, "assistant"), country)


class Plans(Sequence[RehearsalPlan]):
    """The plans of a batch. Each plan is made on access, because keeping them would take 9 KB per conversation.

    Args:
        run: the run that plays the conversations.
        seeds: seeds of the personas, in the batch's order.
    """

    def __init__(self, run: Run, seeds: Sequence[int]) -> None:
        """Store what the plans depend on."""
        self._run, self.seeds = run, seeds

    def __len__(self) -> int:
        """Return the number of plans."""
        return len(self.seeds)

    @overload
    def __getitem__(self, place: int) -> RehearsalPlan: ...

    @overload
    def __getitem__(self, place: slice) -> "Plans": ...

    def __getitem__(self, place: int | slice) -> "RehearsalPlan | Plans":
        """Return one plan, or the plans of a slice."""
        if isinstance(place, slice):
            return Plans(self._run, self.seeds[place])
        return plan_personas(self._run, [sample_persona(self._run.pack, self.seeds[place], self._run.settings.generation.exchanges)])[0]

    @property
    def exchanges(self) -> int:
        """Planned exchanges of all conversations together."""
        return sum(draw_length(self._run.pack, seed, self._run.settings.generation.exchanges)[1] for seed in self.seeds)


def plan_batch(run: Run, conversations: int | None, first_seed: int | None) -> Plans:
    """Return the plans of a batch with personas of consecutive seeds.

    Args:
        run: the run that plays the conversations.
        conversations: number of conversations; None takes the setting.
        first_seed: seed of the first persona; None takes the setting.

    Raises:
        PersonaError: the number or the seed is out of range, or the batch would use seeds reserved for the evaluation.
    """
    settings, generation = run.settings, run.settings.generation
    count = generation.conversations if conversations is None else conversations
    first = generation.first_seed if first_seed is None else first_seed
    asked = f"Asked for {count} conversations from seed {first} on"
    if count < 1 or first < 0:
        raise PersonaError(f"{asked}. Allowed: at least 1, from seed 0 on.")
    if first + count > settings.evaluation.first_seed:
        raise PersonaError(
            f"{asked}; the seeds from {settings.evaluation.first_seed} on are kept for the evaluation. "
            f"{'Ask for fewer' if first < settings.evaluation.first_seed else 'Begin with a lower seed'}, or raise evaluation.first_seed."
        )
    return Plans(run, range(first, first + count))


def plan_personas(run: Run, personas: Sequence[Persona]) -> list[RehearsalPlan]:
    """Return the plan of a rehearsal with each persona."""
    pack, generation = run.pack, run.settings.generation
    return [
        RehearsalPlan(
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


def collect_batch(store: Store, plans: Sequence[RehearsalPlan], reasons: Mapping[str, str]) -> TranscriptBatch:
    """Return a batch of the planned conversations that exist, whichever run made them; the others are listed as left out.

    Args:
        reasons: why a run left conversations out, by "persona" and seed.
    """
    refs, left_out = [], []
    for plan in plans:
        name = f"persona {plan.persona.seed}"
        reason = reasons.get(name, "its shard did not finish it; the log of that run has the reason")
        try:
            if ref := plan.existing(store):
                refs.append(ref)
                continue
        except DamagedError as damaged:
            reason = str(damaged)
        left_out.append(LeftOut(name=name, reason=reason))
    return TranscriptBatch(domain=plans[0].domain, transcripts=refs, left_out=left_out)
