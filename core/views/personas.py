"""A persona as a card: who it is, what was drawn for each of its messages, and what of that shows in what was written."""

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
"""Dimensions that a card names first."""


@dataclass(frozen=True)
class Trait:
    """Something that was drawn, and what it means."""

    name: str
    value: str
    about: str


@dataclass(frozen=True)
class Card:
    """Who a simulated user is.

    Args:
        facts: name, value: as far as a transcript says.
        own: whether it was drawn here; of a persona from elsewhere only facts are known.
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
        shown: by what was to show, whether its words are found; none where nothing can be looked for.
        length: words of the message; due: those of the persona's style.
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
        """Whether the message has the length of the style."""
        return None if self.due is None else self.due[0] <= self.length <= self.due[1]


def card_of(transcript: Transcript, pack: Pack | None) -> Card | None:
    """Return the card of a conversation's persona; none where nothing is known of it."""
    given = transcript.persona or {}
    try:
        return _own(Persona.model_validate(given), pack)
    except ValidationError:
        pass
    facts = [(str(name), _flat(value)) for name, value in given.items() if value not in (None, "", [], {})]
    name = given.get("name")
    return Card(name if isinstance(name, str) else "", facts) if facts else None


def _own(persona: Persona, pack: Pack | None) -> Card:
    dimensions = pack.taxonomy.dimensions if pack else {}
    drawn = {"trajectory": persona.trajectory, **persona.dimensions}
    order = sorted(drawn, key=lambda name: FIRST.index(name) if name in FIRST else len(FIRST))
    traits = [Trait(name, drawn[name], found.description if (found := dimensions.get(name, {}).get(drawn[name])) else "") for name in order]
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
    """Return anything that a persona from elsewhere holds as a short text."""
    if isinstance(value, Mapping):
        return "; ".join(f"{name}: {_flat(part)}" for name, part in value.items())
    if isinstance(value, list):
        return ", ".join(str(part.get("name", _flat(part))) if isinstance(part, dict) else str(part) for part in value)
    return str(value)


def drawn_for(transcript: Transcript, pack: Pack | None) -> list[Drawn]:
    """Return what was drawn for each message, as the transcript records it; nothing for one from elsewhere."""
    steering = transcript.provenance.get("steering")
    steered = steering if isinstance(steering, list) else []
    return [message(item, exchange.user, transcript.persona or {}, pack) for item, exchange in zip(steered, transcript.exchanges, strict=False)]


def message(steering: Any, text: str, persona: Mapping[str, Any], pack: Pack | None) -> Drawn:
    """Return what was drawn for a message, and what shows in its words; a person may have edited the record, and what is of another kind tells nothing."""
    given = steering if isinstance(steering, dict) else {}
    flaws, topics, news = _listed(given, "flaws"), _listed(given, "topics"), given.get("news")
    found = _topics_in(pack, text) if pack else set()
    known = {name for group in pack.taxonomy.topics.values() for name in group.subtopics} if pack else set()
    shown: list[tuple[str, str, bool | None]] = [("topic", _named(name, news), name in found if name in known else None) for name in topics]
    shown += [("flaw", name, _shows(pack, name, text)) for name in flaws]
    dimensions = persona.get("dimensions")
    style = dimensions.get("writing_style") if isinstance(dimensions, dict) else None
    value = pack.taxonomy.dimensions["writing_style"].get(style) if pack and isinstance(style, str) else None
    days, date = given.get("days"), given.get("date")
    since = f"{days} {'day' if days == 1 else 'days'} later" if isinstance(days, int) and days else ""
    return Drawn(
        day=", ".join(part for part in (date if isinstance(date, str) else "", since) if part),
        mood=_word(given, "mood"),
        cooperation=_word(given, "cooperation"),
        shown=shown,
        event=_word(given, "event"),
        episode=_word(given, "episode"),
        length=len(words(text)),
        due=tuple(value.words) if value and value.words else None,
    )


def _named(topic: str, news: Any) -> str:
    said = news.get(topic) if isinstance(news, dict) else None
    return f"{topic} ({said})" if isinstance(said, str) and said else topic


def _shows(pack: Pack | None, flaw: str, text: str) -> bool | None:
    kind = pack.flaws.kinds.get(flaw) if pack else None
    return place_of(tuple(kind.words), searched(text)) is not None if kind and kind.words else None


def _listed(given: Mapping[str, Any], name: str) -> list[str]:
    listed = given.get(name)
    return [item for item in listed if isinstance(item, str)] if isinstance(listed, list | tuple) else []


def _word(given: Mapping[str, Any], name: str) -> str:
    value = given.get(name)
    return value if isinstance(value, str) else ""


_SEARCHES: dict[str, TopicSearch] = {}


def _topics_in(pack: Pack, text: str) -> set[str]:
    """Return the subtopics that a text mentions; of the last pack, what was found is kept."""
    if pack.hash not in _SEARCHES:
        _SEARCHES.clear()
        _SEARCHES[pack.hash] = TopicSearch(pack.taxonomy)
    return set(_SEARCHES[pack.hash].find(text))
