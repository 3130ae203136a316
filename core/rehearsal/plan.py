"""Which conversations are rehearsed: each one's plan, its name and its place, and the batch that comes of them."""

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
"""Stands for the name of a prompt that a plan brings with it: not its path, so that a file may be moved."""


class RehearsalPlan(Record):
    """All that one conversation depends on; its fingerprint is the transcript's name.

    Args:
        guidance: name of the pack's prompt that the assistant is given, or `FILE_PROMPT`.
        user_tokens, assistant_tokens: room for one message, and the most that a prompt and its
            answer may take together.
        guards: faults for which a message is written again; evaluated: whether the assistant's
            are taken as they are.
        folder: where the transcript is put, below the data root.
        template: a prompt file's text, which is given the same as the pack's prompts; the transcript's name
            depends on what it makes of that.
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
        """The id of the transcript that it makes."""
        fields = self.model_dump(exclude={"folder", "template"})
        return f"{self.persona.seed:05d}-{fingerprint([fields, self.guidance_text])}"

    @property
    def path(self) -> str:
        """Where the transcript is put, below the data root."""
        return f"{self.folder}/{self.name}.json"

    @cached_property
    def guidance_text(self) -> str:
        """The prompt that the assistant is given."""
        return _guidance(self.domain, self.pack_hash, self.guidance, self.template, self.persona.country)

    def cast(self, user: ChatModel, assistant: ChatModel, window: int | None = None) -> Cast:
        """Return the players of the conversation.

        Args:
            window: tokens that the assistant is loaded with, where that may be less than the plan allows.
        """
        guards, (room, most) = tuple(self.guards), self.assistant_tokens
        return Cast(
            Player(user, *self.user_tokens, guards),
            Player(assistant, room, min(most, window or most), () if self.evaluated else guards),
            self.guidance_text,
            self.minimum,
            # nobody sends notes to a model in use, so an arm has none; the model that writes data has
            noted=self.guidance == "assistant" and not self.evaluated,
        )

    def existing(self, store: Store) -> TranscriptRef | None:
        """Return its transcript, if there is one.

        Raises:
            DamagedError: its file is no transcript.
        """
        if not store.exists(self.path):
            return None
        exchanges = len(store.load(self.path, Transcript).exchanges)
        return TranscriptRef(id=self.name, path=self.path, exchanges=exchanges)


@lru_cache(maxsize=512)  # one for each country that personas of a batch live in, and each prompt that is compared
def _guidance(domain: str, _pack_hash: str, prompt: str, template: str | None, country: str | None) -> str:
    pack = load_pack(domain)
    return pack.instructions(prompt, country) if template is None else pack.fill(check_prompt(Path(prompt), template, "assistant"), country)


class Plans(Sequence[RehearsalPlan]):
    """The rehearsals of a batch with the personas of some seeds. Each is planned when it is asked for: all of them would take 9 KB a conversation.

    Args:
        seeds: of the personas, in the batch's order.
    """

    def __init__(self, run: Run, seeds: Sequence[int]) -> None:
        """Take what they depend on."""
        self._run, self.seeds = run, seeds

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.seeds)

    @overload
    def __getitem__(self, place: int) -> RehearsalPlan: ...

    @overload
    def __getitem__(self, place: slice) -> "Plans": ...

    def __getitem__(self, place: int | slice) -> "RehearsalPlan | Plans":
        """Return one of them, or those of a slice."""
        if isinstance(place, slice):
            return Plans(self._run, self.seeds[place])
        return plan_personas(self._run, [sample_persona(self._run.pack, self.seeds[place], self._run.settings.generation.exchanges)])[0]

    @property
    def exchanges(self) -> int:
        """How many exchanges they are to have in all."""
        return sum(draw_length(self._run.pack, seed, self._run.settings.generation.exchanges)[1] for seed in self.seeds)


def plan_batch(run: Run, conversations: int | None, first_seed: int | None) -> Plans:
    """Plan a batch with personas of consecutive seeds, by default as many as the settings say.

    Raises:
        PersonaError: the batch would use seeds that are kept for the evaluation.
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
    """Plan a rehearsal with each persona."""
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
    """Make a batch of those of the planned conversations that exist, whichever run made them.

    Args:
        reasons: why a run left some out, by their names.
    """
    refs, left_out = [], []
    for plan in plans:
        name = f"persona {plan.persona.seed}"
        reason = reasons.get(name, "its shard did not make it; the log of that run says why")
        try:
            if ref := plan.existing(store):
                refs.append(ref)
                continue
        except DamagedError as damaged:
            reason = str(damaged)
        left_out.append(LeftOut(name=name, reason=reason))
    return TranscriptBatch(domain=plans[0].domain, transcripts=refs, left_out=left_out)
