"""Cards of personas, what was drawn for each of their messages, and whether the messages show it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ValidationError

from core.judging.text_facts import words
from core.packs.pack import Pack
from core.packs.word_search import TopicSearch, place_of
from core.packs.word_search import plain as searched
from core.records import Persona, Transcript

FIRST = ("age_context", "trajectory", "difficulty", "writing_style", "typing", "communication_style")
"""Dimensions that come first on a card, in this order."""


@dataclass(frozen=True)
class Trait:
    """A value that was drawn for a persona, with its explanation."""

    name: str
    value: str
    about: str


@dataclass(frozen=True)
class Card:
    """The description of a simulated user.

    Args:
        facts: pairs of name and value.
        own: whether the persona was drawn by this program. An imported persona has only facts.
    """

    name: str
    facts: list[tuple[str, str]]
    traits: list[Trait] = field(default_factory=list)
    flaws: list[Trait] = field(default_factory=list)
    topics: list[Trait] = field(default_factory=list)
    episodes: list[Trait] = field(default_factory=list)
    own: bool = False


@dataclass(frozen=True)
class Drawn:
    """What was drawn for one message.

    Args:
        shown: for each topic and flaw, its kind, its name, and whether the message contains its words; None if it cannot be searched for.
        length: number of words of the message.
        due: minimum and maximum number of words in the persona's style; None if they are not known.
    """

    day: str
    mood: str
    cooperation: str
    shown: list[tuple[str, str, bool | None]]
    event: str
    episode: str
    length: int
    due: tuple[int, int] | None

    @property
    def in_style(self) -> bool | None:
        """Whether the length of the message fits the style; None if the style's length is not known."""
        return None if self.due is None else self.due[0] <= self.length <= self.due[1]


def card_of(transcript: Transcript, pack: Pack | None) -> Card | None:
    """Return the card of a conversation's persona; None if nothing is known about it."""
    persona = transcript.persona or {}
    try:
        return _own(Persona.model_validate(persona), pack)
    except ValidationError:
        pass
    facts = [(str(name), _flat(value)) for name, value in persona.items() if value not in (None, "", [], {})]
    name = persona.get("name")
    return Card(name if isinstance(name, str) else "", facts) if facts else None


def _own(persona: Persona, pack: Pack | None) -> Card:
    dimensions = pack.taxonomy.dimensions if pack else {}
    drawn = {"trajectory": persona.trajectory, **persona.dimensions}
    order = sorted(drawn, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    traits = [Trait(name, drawn[name], value.description if (value := dimensions.get(name, {}).get(drawn[name])) else "") for name in order]
    facts = [(name, text) for name, text in persona.life.items() if name != "english"]
    facts += [("first message", persona.begins)] if persona.begins else []
    facts += [("seed", str(persona.seed))]
    topics = [Trait(topic.subtopic, _when(topic.arrives, topic.settles, topic.returns), topic.description) for topic in persona.topics]
    flaws = [Trait(flaw.name, flaw.level, flaw.description) for flaw in persona.flaws]
    episodes = [Trait(one.name, f"message {', '.join(str(beat.exchange_number) for beat in one.beats)}", one.variant) for one in persona.episodes]
    return Card(persona.name, facts, traits, flaws, topics, episodes, own=True)


def _when(arrives: int, settles: int | None, returns: int | None) -> str:
    parts = [f"from message {arrives}" if arrives > 1 else "from the beginning"]
    parts += [f"settled in {settles}"] if settles else []
    parts += [f"back in {returns}"] if returns else []
    return ", ".join(parts)


def _flat(value: Any) -> str:
    """Return any value of an imported persona as a short text."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_flat(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(str(part.get("name", _flat(part))) if isinstance(part, dict) else str(part) for part in value)
    return str(value)


def drawn_for(transcript: Transcript, pack: Pack | None) -> list[Drawn]:
    """Return what was drawn for each message, as the transcript records it; empty for an imported transcript."""
    steering = transcript.provenance.get("steering")
    steered = steering if isinstance(steering, list) else []
    return [message(item, exchange.user, transcript.persona or {}, pack) for item, exchange in zip(steered, transcript.exchanges, strict=False)]


def message(steering: Any, text: str, persona: Mapping[str, Any], pack: Pack | None) -> Drawn:
    """Return what was drawn for a message, and what of it the message shows.

    Args:
        steering: the record of what was drawn. A person may have edited it, so parts of the wrong type are ignored.
        text: the message.
        persona: the transcript's record of the persona.
        pack: None if it cannot be loaded.
    """
    record = steering if isinstance(steering, dict) else {}
    flaws, topics, news = _listed(record, "flaws"), _listed(record, "topics"), record.get("news")
    mentioned = _topics_in(pack, text) if pack else set()
    subtopics = {name for group in pack.taxonomy.topics.values() for name in group.subtopics} if pack else set()
    shown: list[tuple[str, str, bool | None]] = [("topic", _named(name, news), name in mentioned if name in subtopics else None) for name in topics]
    shown += [("flaw", name, _shows(pack, name, text)) for name in flaws]
    dimensions = persona.get("dimensions")
    style = dimensions.get("writing_style") if isinstance(dimensions, dict) else None
    value = pack.taxonomy.dimensions["writing_style"].get(style) if pack and isinstance(style, str) else None
    days, date = record.get("days"), record.get("date")
    since = f"{days} {'day' if days == 1 else 'days'} later" if isinstance(days, int) and days else ""
    return Drawn(
        day=", ".join(part for part in (date if isinstance(date, str) else "", since) if part),
        mood=_word(record, "mood"),
        cooperation=_word(record, "cooperation"),
        shown=shown,
        event=_word(record, "event"),
        episode=_word(record, "episode"),
        length=len(words(text)),
        due=tuple(value.words) if value and value.words else None,
    )


def _named(topic: str, news: Any) -> str:
    update = news.get(topic) if isinstance(news, dict) else None
    return f"{topic} ({update})" if isinstance(update, str) and update else topic


def _shows(pack: Pack | None, flaw: str, text: str) -> bool | None:
    kind = pack.flaws.kinds.get(flaw) if pack else None
    return place_of(tuple(kind.words), searched(text)) is not None if kind and kind.words else None


def _listed(record: Mapping[str, Any], name: str) -> list[str]:
    listed = record.get(name)
    return [item for item in listed if isinstance(item, str)] if isinstance(listed, list | tuple) else []


def _word(record: Mapping[str, Any], name: str) -> str:
    value = record.get(name)
    return value if isinstance(value, str) else ""


_SEARCHES: dict[str, TopicSearch] = {}
"""The prepared search of the last used pack, by the pack's hash."""


def _topics_in(pack: Pack, text: str) -> set[str]:
    """Return the subtopics that a text mentions."""
    if pack.hash not in _SEARCHES:
        _SEARCHES.clear()
        _SEARCHES[pack.hash] = TopicSearch(pack.taxonomy)
    return set(_SEARCHES[pack.hash].find(text))
