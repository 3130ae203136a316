"""The messages of a simulated user, each with what the persona and the steering asked of it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from core.records import Exchange, Persona, Transcript
from core.rehearsal.course import beat_at


@dataclass(frozen=True)
class PlayedMessage:
    """One message of a simulated user.

    Args:
        answer_before: the assistant's answer before it; None for the first message.
        style: the persona's writing style; None if it is not recorded.
        flaws: names of the persona's flaws.
        due: names of the flaws that the message must show.
        topics_due: subtopics planned for the message.
        part, episode: the part of an episode that the message plays, and the episode's name; empty if it plays none.
        event: what happened before the message; empty if nothing did.
        early: the persona's subtopics that have not arrived yet.
        cooperation: planned reaction to the last answer; empty if it is not recorded.
    """

    text: str
    answer_before: str | None
    style: str | None
    flaws: frozenset[str]
    due: frozenset[str]
    topics_due: frozenset[str]
    part: str
    episode: str
    event: str
    early: frozenset[str]
    cooperation: str


def played_messages(transcript: Transcript) -> Iterator[PlayedMessage]:
    """Yield the user's messages of a transcript; if it does not record which flaws a message must show, all flaws of its persona are due."""
    flaws, style = _played(transcript.persona or {})
    drawn = drawn_persona(transcript.persona)
    steering = recorded(transcript, "steering")
    before: Exchange | None = None
    for number, exchange in enumerate(transcript.exchanges):
        steered = steering[number] if number < len(steering) and {"flaws", "topics"} <= steering[number].keys() else None
        yield PlayedMessage(
            text=exchange.user,
            answer_before=before.assistant if before else None,
            style=style,
            flaws=flaws,
            due=_names(steered["flaws"]) if steered else flaws,
            topics_due=_names(steered["topics"]) if steered else frozenset(),
            part=beat.part if (beat := beat_at(drawn, number + 1) if drawn else None) else "",
            episode=next((item.name for item in drawn.episodes if beat in item.beats), "") if drawn and beat else "",
            early=frozenset(topic.subtopic for topic in drawn.topics if number + 1 < topic.arrives) if drawn else frozenset(),
            cooperation=str(steered["cooperation"]) if steered and "cooperation" in steered else "",
            event=next((item.text for item in drawn.events if item.exchange_number == number + 1), "") if drawn else "",
        )
        before = exchange


def drawn_persona(persona: Mapping[str, Any] | None) -> Persona | None:
    """Return a transcript's persona if this product drew it, otherwise None."""
    try:
        return Persona.model_validate(persona)
    except ValidationError:
        return None


def _played(persona: Mapping[str, Any]) -> tuple[frozenset[str], str | None]:
    """Return the flaws and the writing style of a persona, also by the older format's names; an imported persona may have values of any type there."""
    listed, dimensions = persona.get("flaws") or persona.get("flaw_patterns"), persona.get("dimensions")
    names = (flaw.get("name") for flaw in (listed if isinstance(listed, list) else ()) if isinstance(flaw, dict))
    style = (dimensions if isinstance(dimensions, dict) else persona).get("writing_style")
    return frozenset(name for name in names if isinstance(name, str)), style.replace("-", "_") if isinstance(style, str) and style else None


def recorded(transcript: Transcript, name: str) -> list[Mapping[str, Any]]:
    """Return a list from a transcript's provenance by its name; a person may have edited it, so an item of another type becomes an empty dict."""
    listed = transcript.provenance.get(name)
    return [item if isinstance(item, dict) else {} for item in listed] if isinstance(listed, list) else []


def _names(listed: Any) -> frozenset[str]:
    return frozenset(name for name in listed if isinstance(name, str)) if isinstance(listed, list | tuple) else frozenset()
