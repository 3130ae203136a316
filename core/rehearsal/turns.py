"""One message of a rehearsal, by either side: the request to the model, and the checks of its reply."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.errors import InvalidOutputError, RefusedError, TruncatedError
from core.fingerprint import seed_of
from core.llm.chat import ChatModel, ChatRequest, Message, Reply
from core.llm.loops import circle_of
from core.packs.pack import Pack
from core.records import Exchange, Persona, Side
from core.rehearsal.assistant_note import note_inputs
from core.rehearsal.course import Steering
from core.rehearsal.guards import find_fault
from core.rehearsal.openings import is_gesture
from core.rehearsal.prompt_leak import Hidden, find_leak
from core.rehearsal.simulator_inputs import steering_inputs
from core.rehearsal.style import REWRITES, style_faults
from core.rehearsal.turn_log import Rejection, Turn, TurnLog, rejection, spent
from core.settings.faults import Fault
from core.yaml_files import explain

USER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"message": {"type": "string"}, "done": {"type": "boolean"}},
    "required": ["message", "done"],
    "additionalProperties": False,
}


class UserMessage(BaseModel):
    """The user simulator's reply: a message, and whether the user says goodbye with it."""

    model_config = ConfigDict(extra="forbid")
    message: str
    done: bool


@dataclass(frozen=True)
class Player:
    """One side of a rehearsal.

    Args:
        model: the client of the model that plays it.
        max_tokens: maximum tokens of one message.
        most_tokens: maximum tokens of a prompt and its answer together; the conversation ends before it exceeds them.
        guards: faults for which a message is written again. An empty message, or a user's reply without the JSON form, always is. An evaluated
            assistant has no guards.
    """

    model: ChatModel
    max_tokens: int
    most_tokens: int
    guards: tuple[Fault, ...] = tuple(Fault)


@dataclass(frozen=True)
class Cast:
    """The two players of a rehearsal.

    Args:
        guidance: the assistant's instructions: detailed ones for generating data, short ones for evaluating a model.
        minimum: number of the first exchange in which the user may say goodbye.
        noted: whether the assistant reads the pack's note before each answer, as it does when it generates data.
    """

    user: Player
    assistant: Player
    guidance: str
    minimum: int
    noted: bool = False


@dataclass(frozen=True)
class Scene:
    """A rehearsal in progress.

    Args:
        name: the transcript's id.
        trial: number of this conversation among several with the same persona.
        log: the messages so far.
        brief: the user simulator's stable instructions.
    """

    pack: Pack
    persona: Persona
    cast: Cast
    name: str
    trial: int
    log: TurnLog
    brief: str

    @property
    def exchanges(self) -> list[Exchange]:
        """The exchanges so far, without a user's message that is not answered yet."""
        pairs = zip(self.log.turns[::2], self.log.turns[1::2], strict=False)
        return [Exchange(exchange_number=number, user=user.text, assistant=assistant.text) for number, (user, assistant) in enumerate(pairs, start=1)]


async def user_turn(scene: Scene, steering: Steering) -> Turn:
    """Return the user's next message, written by the simulator.

    Raises:
        ModelError: the model gave no usable message.
    """
    exchanges, pack = scene.exchanges, scene.pack
    # the simulator sees the conversation from its own side: its own messages have the role `assistant`
    opening = Message("user", pack.prompts["user_opening"].render())
    note = Message("user", pack.prompts["user_steering"].render(**steering_inputs(pack, scene.persona, steering)))
    seed = seed_of("user", scene.persona.seed, steering.exchange_number)
    # of what is filled in, flaws and moods are directions, not facts; the event should be mentioned
    directions = [pack.taxonomy.moods[steering.mood], *(text for flaw in scene.persona.flaws for text in (flaw.description, flaw.notes))]
    instructions = [*(pack.prompts[name].text for name in ("user_simulator", "user_steering")), *directions]
    hidden = Hidden(instructions, [scene.brief, note.content], [steering.event])

    def check(reply: Reply) -> None:
        try:
            written = read_user_message(reply.text)
        except InvalidOutputError as invalid:
            raise _refused(scene, "user", Fault.FORM, str(invalid), reply, seed) from invalid
        _guard(scene, "user", written.message, reply, seed, hidden, leaves=written.done)

    request = ChatRequest(
        role="user_simulator",
        system=scene.brief,
        messages=(opening, *_history(exchanges, own="user"), note),
        max_tokens=scene.cast.user.max_tokens,
        seed=seed + (refused := scene.log.refused("user", steering.exchange_number)),
        schema=USER_SCHEMA,
        volatile=1,
        item=scene.name,
        check=check,
        refused=refused,
        inputs={"persona": scene.persona, "steering": steering, "exchanges": tuple(exchanges)},
    )
    reply = await scene.cast.user.model.complete(request)
    written = read_user_message(reply.text)
    return Turn(side="user", text=written.message.strip(), done=written.done, spent=spent(reply.usage))


def read_user_message(text: str) -> UserMessage:
    """Return the parsed reply of the user simulator.

    Raises:
        InvalidOutputError: the reply does not match the schema.
    """
    try:
        return UserMessage.model_validate_json(text)
    except ValidationError as invalid:
        raise InvalidOutputError(f"the user's message is invalid: {explain(invalid, whole='the reply')}") from invalid


async def assistant_turn(scene: Scene, exchange_number: int) -> Turn:
    """Return the assistant's answer to the last message; one with a style fault is requested again up to `REWRITES` times.

    Raises:
        ModelError: the model gave no usable answer.
    """
    seed = seed_of("assistant", scene.persona.seed, scene.trial)
    while True:
        refused = [item for item in scene.log.refusals("assistant", exchange_number) if item.fault in REWRITES]
        try:
            reply = await scene.cast.assistant.model.complete(_answer_request(scene, exchange_number, seed, refused))
        except (InvalidOutputError, TruncatedError, RefusedError):
            if not refused:
                raise
            return Turn(side="assistant", text=refused[-1].text.strip())  # its tokens are recorded with the refusal
        faults = _style_faults(scene, exchange_number, reply.text)
        due = [fault for fault in faults if sum(item.fault is fault for item in refused) < REWRITES[fault]]
        if not due:
            return Turn(side="assistant", text=reply.text.strip(), spent=spent(reply.usage))
        count = scene.log.refused("assistant", exchange_number)
        scene.log.refuse(rejection("assistant", exchange_number, due[0], faults[due[0]], reply, seed + count))


def _answer_request(scene: Scene, exchange_number: int, seed: int, refused: Sequence[Rejection]) -> ChatRequest:
    """Return the request for an answer.

    Args:
        refused: answers to the same message refused for their style.
    """

    def check(reply: Reply) -> None:
        _guard(scene, "assistant", reply.text, reply, seed, hidden)

    message = scene.log.turns[-1].text
    note = _note(scene, exchange_number, refused)
    guidance, services = scene.cast.guidance, scene.pack.help_at_hand(scene.persona.country)
    hidden = Hidden([guidance, *([scene.pack.note.text] if note and scene.pack.note else [])], [guidance, *(item.content for item in note)], [services])
    count = scene.log.refused("assistant", exchange_number)
    return ChatRequest(
        role="assistant",
        system=guidance,
        messages=(*_history(scene.exchanges, own="assistant"), Message("user", message), *note),
        max_tokens=scene.cast.assistant.max_tokens,
        seed=seed + count,
        volatile=len(note),
        item=scene.name,
        check=check,
        refused=count - len(refused),
    )


def _note(scene: Scene, exchange_number: int, refused: Sequence[Rejection]) -> list[Message]:
    """Return the note for the next answer as a list of one message; an empty list if the pack or the cast has no note."""
    if not (scene.cast.noted and scene.pack.note):
        return []
    reasons = dict.fromkeys((fault.value, shown) for item in refused for fault, shown in _style_faults(scene, exchange_number, item.text).items())
    tries = [{"fault": fault, "shown": shown} for fault, shown in reasons]
    return [
        Message("user", scene.pack.note.render(**note_inputs(scene.pack, scene.exchanges, scene.log.turns[-1].text, tries, _is_urgent(scene, exchange_number))))
    ]


def _is_urgent(scene: Scene, exchange_number: int) -> bool:
    """Return whether an answer may have any length for safety: during an urgent episode and one message after it."""
    kinds = scene.pack.episodes.episodes
    playing = [episode for episode in scene.persona.episodes if any(0 <= exchange_number - beat.exchange_number <= 1 for beat in episode.beats)]
    return any(episode.name in kinds and kinds[episode.name].urgent for episode in playing)


def _style_faults(scene: Scene, exchange_number: int, text: str) -> dict[Fault, str]:
    """Return the style faults of an answer to the last message, each with its evidence; an urgent answer may have any length."""
    urgent = _is_urgent(scene, exchange_number)
    faults = [fault for fault in scene.cast.assistant.guards if not (urgent and fault is Fault.TOO_LONG)]
    return style_faults(scene.pack, text, scene.log.turns[-1].text, _texts(scene, "assistant"), faults)


def _guard(scene: Scene, side: Side, text: str, reply: Reply, seed: int, hidden: Hidden, leaves: bool = False) -> None:
    """Check a message.

    Args:
        hidden: the texts that only this side's model read.
        leaves: whether the user says goodbye with it; such a message may stop in the middle of a sentence.

    Raises:
        InvalidOutputError, TruncatedError: the message has a fault.
    """
    player = scene.cast.user if side == "user" else scene.cast.assistant
    if reply.finish == "length" and Fault.TRUNCATED in player.guards:
        raise _refused(scene, side, Fault.TRUNCATED, text[-60:], reply, seed)
    gesture = side == "user" and player.guards and not scene.log.turns and is_gesture(text)
    if not text.strip() or gesture:
        raise _refused(scene, side, Fault.EMPTY, text, reply, seed)
    faults = player.guards and {Fault.EMPTY, *player.guards} - ({Fault.TRUNCATED} if leaves else set())
    other: Side = "assistant" if side == "user" else "user"
    if fault := find_fault(scene.pack.guards, side, text, _texts(scene, side), faults, _texts(scene, other)):
        raise _refused(scene, side, *fault, reply, seed)
    if Fault.META in player.guards and (leak := find_leak(text, hidden, opens=not scene.log.turns)):
        raise _refused(scene, side, Fault.META, leak, reply, seed)


def _texts(scene: Scene, side: Side) -> list[str]:
    return [turn.text for turn in scene.log.turns if turn.side == side]


def _refused(scene: Scene, side: Side, fault: Fault, excerpt: str, reply: Reply, seed: int) -> InvalidOutputError | TruncatedError:
    """Record a refused message and return the error that makes the caller request it again."""
    if reply.finish == "length":
        circle = circle_of(reply.text)
        fault, excerpt = (Fault.NEAR_REPEAT, circle) if circle else (Fault.TRUNCATED, excerpt)
    number = len(scene.log.turns) // 2 + 1
    scene.log.refuse(rejection(side, number, fault, excerpt, reply, seed + scene.log.refused(side, number)))
    problem = f"the {side}'s message {number} was refused ({fault.value.replace('_', ' ')}: {' '.join(excerpt.split())[:80]!r})."
    return TruncatedError(f"{problem} Allow more (max_tokens of the stage).") if fault is Fault.TRUNCATED else InvalidOutputError(problem)


def _history(exchanges: Sequence[Exchange], own: Side) -> list[Message]:
    """Return the conversation as its `own` side's model reads it: its own messages have the role `assistant`."""
    other: Side = "assistant" if own == "user" else "user"
    sides: dict[Side, Side] = {own: "assistant", other: "user"}
    return [message for turn in exchanges for message in (Message(sides["user"], turn.user), Message(sides["assistant"], turn.assistant))]
