"""A rehearsed conversation: a simulated user and an assistant, taking turns."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from core.errors import InvalidOutputError, ModelError, RefusedError, TruncatedError
from core.packs.pack import Pack
from core.records import EndReason, Persona, Side, Transcript
from core.rehearsal.course import steer
from core.rehearsal.lengths import CHARACTERS_PER_TOKEN
from core.rehearsal.simulator_inputs import brief_inputs
from core.rehearsal.turn_log import Turn, TurnLog
from core.rehearsal.turns import Cast, Player, Scene, assistant_turn, user_turn


async def rehearse(pack: Pack, persona: Persona, cast: Cast, name: str, trial: int = 0, log: TurnLog | None = None) -> Transcript:
    """Play a conversation to its end and return its transcript.

    Args:
        name: the transcript's id.
        trial: number of this conversation among several with the same persona; the user's draws are the same in all of them.
        log: stores each message as it arrives and holds the messages before an interruption; None keeps the messages in memory.

    Raises:
        ModelError: a model gave no usable message, and either the conversation is too short to be kept or the failure may be temporary.
    """
    brief = pack.prompts["user_simulator"].render(**brief_inputs(pack, persona))
    scene = Scene(pack, persona, cast, name, trial, log or TurnLog(), brief)
    turns, problem = scene.log.turns, {}
    while (reason := _ended(scene)) is None:
        number = len(turns) // 2 + 1
        try:
            if len(turns) % 2 == 0:
                scene.log.add(await user_turn(scene, steer(pack, persona, number, cast.minimum)))
            scene.log.add(await assistant_turn(scene, number))
        except ModelError as error:
            error.side = "assistant" if len(turns) % 2 else "user"
            if number <= cast.minimum or not isinstance(error, InvalidOutputError | TruncatedError | RefusedError):
                raise
            reason, problem = EndReason.ERROR, {"problem": str(error), "problem_side": error.side}
            break
    return Transcript(
        id=name,
        persona=persona.model_dump(),
        exchanges=scene.exchanges,
        target_exchanges=persona.exchanges,
        end_reason=reason,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        system=pack.system(persona.country),
        provenance=_provenance(scene) | problem,
    )


def _provenance(scene: Scene) -> dict[str, Any]:
    """Return a conversation's provenance: models, draws, token use and refused messages."""
    pack, persona, cast = scene.pack, scene.persona, scene.cast
    return {
        "domain": pack.name,
        "pack_hash": pack.hash,
        "seed": persona.seed,
        "trial": scene.trial,
        "user_simulator": cast.user.model.reference,
        "assistant": cast.assistant.model.reference,
        "caveat": cast.user.model.caveat,
        "steering": [asdict(steer(pack, persona, number, cast.minimum)) for number in range(1, len(scene.log.turns) // 2 + 1)],
        "usage": scene.log.usage(),
        "rejections": [item.model_dump(mode="json", exclude={"spent"}) for item in scene.log.rejections],
    }


def _ended(scene: Scene) -> EndReason | None:
    turns = scene.log.turns
    answered = len(turns) // 2
    if len(turns) % 2 or not turns:
        return None
    if answered >= scene.cast.minimum and turns[-2].done:
        return EndReason.USER_DONE
    if answered >= scene.persona.exchanges:
        return EndReason.TARGET_REACHED
    if not (_fits(turns, "user", scene.cast.user) and _fits(turns, "assistant", scene.cast.assistant)):
        return EndReason.BUDGET
    return None


def _fits(turns: list[Turn], side: Side, player: Player) -> bool:
    """Return whether a side's next prompt and answer stay within its token limit.

    The next prompt is the last one, with the provider's token count, plus one user message and one answer. If the provider counted nothing, the
    number is estimated from all messages.
    """
    user, answer = turns[-2:]
    counted = (user if side == "user" else answer).spent.input_tokens
    uncounted = turns[-2:] if counted else turns
    return counted + sum(len(turn.text) for turn in uncounted) / CHARACTERS_PER_TOKEN + player.max_tokens <= player.most_tokens
