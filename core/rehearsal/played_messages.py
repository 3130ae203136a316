"""What a simulated user wrote, beside what its persona and its steering asked of each message."""

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
        style: of writing; flaws: of the persona; due: those that this message was to show.
        topics_due: subtopics that were planned for it; early: those of the persona that have not arrived yet.
        part, episode: what it shows of which episode; event: what happened before it; cooperation: how it was to take the last answer. Empty where none.
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
    """Yield the user's messages of a transcript; where it does not say which flaws a message was to show, all of its persona's are due."""
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
    """Return a transcript's persona as it was drawn here; none where it comes from elsewhere."""
    try:
        return Persona.model_validate(persona)
    except ValidationError:
        return None


def _played(persona: Mapping[str, Any]) -> tuple[frozenset[str], str | None]:
    """Return the flaws and the writing style of a persona, by the forerunner's names too; one from elsewhere may hold anything in their places."""
    listed, dimensions = persona.get("flaws") or persona.get("flaw_patterns"), persona.get("dimensions")
    names = (flaw.get("name") for flaw in (listed if isinstance(listed, list) else ()) if isinstance(flaw, dict))
    style = (dimensions if isinstance(dimensions, dict) else persona).get("writing_style")
    return frozenset(name for name in names if isinstance(name, str)), style.replace("-", "_") if isinstance(style, str) and style else None


def recorded(transcript: Transcript, name: str) -> list[Mapping[str, Any]]:
    """Return a list of the record of how a transcript was made; a person may have edited it, and what is of another kind tells nothing."""
    listed = transcript.provenance.get(name)
    return [item if isinstance(item, dict) else {} for item in listed] if isinstance(listed, list) else []


def _names(listed: Any) -> frozenset[str]:
    return frozenset(name for name in listed if isinstance(name, str)) if isinstance(listed, list | tuple) else frozenset()
