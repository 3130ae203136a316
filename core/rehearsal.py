"""A rehearsed conversation: a simulated user and an assistant, taking turns."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from core.chat import ChatModel, ChatRequest, Message, Side
from core.errors import InvalidOutputError
from core.fingerprint import seed_of
from core.pack import Pack
from core.records import EndReason, Exchange, Persona, Transcript
from core.steering import Steering, steer
from core.turn_log import Turn, TurnLog
from core.yaml_files import explain

USER_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {"message": {"type": "string"}, "done": {"type": "boolean"}},
    "required": ["message", "done"],
    "additionalProperties": False,
}


class _UserMessage(BaseModel):
    model_config = ConfigDict(extra="forbid")
    message: str
    done: bool


@dataclass(frozen=True)
class Cast:
    """Who plays in a rehearsal.

    Args:
        guidance: the assistant's instructions: the rich ones when data is made, the short ones when a model is evaluated.
        max_tokens: room for one message.
        minimum: exchanges before which the user does not take leave.
    """

    user_simulator: ChatModel
    assistant: ChatModel
    guidance: str
    max_tokens: int
    minimum: int


async def rehearse(pack: Pack, persona: Persona, cast: Cast, name: str, trial: int = 0, log: TurnLog | None = None) -> Transcript:
    """Play a conversation to its end.

    Args:
        name: the transcript's id.
        trial: which of several conversations with the same persona; the user's draws are the same in all of them.
        log: what was said before the conversation was interrupted, if it was; it keeps each message as soon as it is there.

    Raises:
        ModelError: a model gave no usable message.
    """
    turns = list(log.turns) if log else []

    def keep(turn: Turn) -> None:
        turns.append(turn)
        if log:
            log.add(turn)

    while (reason := _ended(turns, persona.exchanges, cast.minimum)) is None:
        exchanges = _exchanges(turns)
        if len(turns) % 2 == 0:
            steering = steer(pack, persona, len(exchanges) + 1, cast.minimum)
            said = await _user_turn(pack, persona, cast, exchanges, steering, name)
            keep(Turn(side="user", text=said.message, done=said.done))
        answer = await _assistant_turn(cast, exchanges, turns[-1].text, seed_of("assistant", persona.seed, trial), name)
        keep(Turn(side="assistant", text=answer))
    exchanges = _exchanges(turns)
    return Transcript(
        id=name,
        persona=persona.model_dump(),
        exchanges=exchanges,
        target_exchanges=persona.exchanges,
        end_reason=reason,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        system=pack.prompts["system"].render(),
        provenance={
            "domain": pack.name,
            "pack_hash": pack.hash,
            "seed": persona.seed,
            "trial": trial,
            "user_simulator": cast.user_simulator.reference,
            "assistant": cast.assistant.reference,
            "caveat": cast.user_simulator.caveat,
        },
    )


def _exchanges(turns: Sequence[Turn]) -> list[Exchange]:
    pairs = zip(turns[::2], turns[1::2], strict=False)  # a user's message that is not answered yet is left out
    return [Exchange(exchange_number=number, user=user.text, assistant=assistant.text) for number, (user, assistant) in enumerate(pairs, start=1)]


def _ended(turns: Sequence[Turn], target: int, minimum: int) -> EndReason | None:
    answered = len(turns) // 2
    if len(turns) % 2 == 0 and answered >= minimum and turns and turns[-2].done:
        return EndReason.USER_DONE
    return EndReason.TARGET_REACHED if answered >= target and len(turns) % 2 == 0 else None


async def _user_turn(pack: Pack, persona: Persona, cast: Cast, exchanges: Sequence[Exchange], steering: Steering, name: str) -> _UserMessage:
    inputs = user_inputs(pack, persona, steering)
    # the simulator sees the conversation from its own side: what it said itself is `assistant`
    opening = Message("user", pack.prompts["user_opening"].render())
    note = Message("user", pack.prompts["user_steering"].render(**inputs["volatile"]))
    request = ChatRequest(
        role="user_simulator",
        system=pack.prompts["user_simulator"].render(**inputs["stable"]),
        messages=(opening, *_history(exchanges, own="user"), note),
        max_tokens=cast.max_tokens,
        seed=seed_of("user", persona.seed, steering.exchange_number),
        schema=USER_SCHEMA,
        volatile=1,
        item=name,
        check=read_user_message,
        inputs={"persona": persona, "steering": steering, "exchanges": tuple(exchanges)},
    )
    reply = await cast.user_simulator.complete(request)
    return read_user_message(reply.text)


def read_user_message(text: str) -> _UserMessage:
    """Read the user simulator's answer.

    Raises:
        InvalidOutputError: it has not the asked form, or the message is empty.
    """
    try:
        said = _UserMessage.model_validate_json(text)
    except ValidationError as invalid:
        raise InvalidOutputError(f"the user's message has not the asked form: {explain(invalid)}") from invalid
    if not said.message.strip():
        raise InvalidOutputError("the user's message is empty.")
    return said


async def _assistant_turn(cast: Cast, exchanges: Sequence[Exchange], message: str, seed: int, name: str) -> str:
    request = ChatRequest(
        role="assistant",
        system=cast.guidance,
        messages=(*_history(exchanges, own="assistant"), Message("user", message)),
        max_tokens=cast.max_tokens,
        seed=seed,
        item=name,
        check=_refuse_nothing,
    )
    reply = await cast.assistant.complete(request)
    _refuse_nothing(reply.text)
    return reply.text.strip()


def _refuse_nothing(text: str) -> None:
    if not text.strip():
        raise InvalidOutputError("the assistant answered with nothing.")


def _history(exchanges: Sequence[Exchange], own: Side) -> list[Message]:
    other: Side = "assistant" if own == "user" else "user"
    sides: dict[Side, Side] = {own: "assistant", other: "user"}
    return [message for turn in exchanges for message in (Message(sides["user"], turn.user), Message(sides["assistant"], turn.assistant))]


def user_inputs(pack: Pack, persona: Persona, steering: Steering) -> dict[str, dict[str, Any]]:
    """Return what the user simulator's two prompts are rendered with: the stable one's inputs and the volatile one's."""
    dimensions = pack.taxonomy.dimensions
    descriptions = {topic.subtopic: topic.description for topic in persona.topics}
    kinds = {name: kind for flaws in pack.flaws.categories.values() for name, kind in flaws.items()}
    described = [{"name": flaw.name, "description": flaw.description, "notes": flaw.notes, "examples": kinds[flaw.name].examples} for flaw in persona.flaws]
    return {
        "stable": {
            "persona": persona.model_dump(),
            "topics": [topic.model_dump() for topic in persona.topics],
            "flaws": described,
            "dimensions": {name: {"value": value, "description": dimensions[name][value].description} for name, value in persona.dimensions.items()},
            "trajectory": {"value": persona.trajectory, "description": dimensions["trajectory"][persona.trajectory].description},
        },
        "volatile": {
            **asdict(steering),
            "topics": [{"subtopic": name, "description": descriptions[name]} for name in steering.topics],
            "flaws": [flaw for flaw in described if flaw["name"] in steering.flaws],
        },
    }
