"""What the next user message is to show, drawn in code by seed rather than left to the model."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.records import Beat, Persona, Topic
from core.rehearsal.personas import pick

MOST_TOPICS, WORDS_OF_A_TOPIC = 3, 40
"""Topics of one message, and the words that each takes at least: three in twenty words would be a list."""


@dataclass(frozen=True)
class Steering:
    """The volatile part of the user simulator's instructions.

    Args:
        topics: subtopics to touch; flaws: names of the flaws that show.
        news: subtopics of today that arrive, are settled or return.
        cooperation: what the user makes of the last answer: engage, partial, push_back or ignore.
        mood: name of the day's mood.
        days: that have passed since the last message.
        date: weekday, day and month; empty where the persona has no calendar.
        event: what happened since the last message, if anything.
        episode: stage direction of the edge case that this message is a part of, if it is.
        may_end: whether the user may take leave.
    """

    exchange_number: int
    target_exchanges: int
    topics: tuple[str, ...]
    news: dict[str, str]
    flaws: tuple[str, ...]
    cooperation: str
    mood: str
    days: int
    date: str
    event: str
    episode: str
    may_end: bool


def steer(pack: Pack, persona: Persona, exchange_number: int, minimum: int) -> Steering:
    """Draw what a persona's message shows.

    Args:
        exchange_number: 1 for the first message.
        minimum: exchanges before which the user does not take leave.
    """
    draw = random.Random(seed_of("steering", pack.name, persona.seed, exchange_number))
    beat = beat_at(persona, exchange_number)
    topics, news = _topics(persona, exchange_number, draw, *((1, 1) if beat else (_most_topics(pack, persona), MOST_TOPICS)))
    low, high = pack.flaws.secondary_shows
    flaws = [flaw.name for flaw in persona.flaws if draw.random() < (pack.flaws.primary_shows if flaw.level == "primary" else draw.uniform(low, high))]
    flaws = [name for name in flaws if name not in pack.flaws.kinds or exchange_number >= pack.flaws.kinds[name].from_exchange]
    cooperation = pick(draw, _cooperation(pack, persona, exchange_number))
    if exchange_number == 1 or (beat and beat.part in ("plays", "after")):  # after a question about danger, nobody writes as though it had not been asked
        cooperation = "engage"
    passed = [_days(pack, persona, number) for number in range(1, exchange_number + 1)]
    day = date.fromisoformat(persona.begins) + timedelta(days=sum(passed)) if persona.begins else None
    last = max((beat.exchange_number for beat in _beats(persona)), default=0)
    return Steering(
        exchange_number=exchange_number,
        target_exchanges=persona.exchanges,
        topics=tuple(topics),
        news=news,
        flaws=tuple(flaws),
        cooperation=cooperation,
        mood=pick(draw, _moods(pack, persona, exchange_number)),
        days=passed[-1],
        date=f"{day:%A} {day.day} {day:%B}" if day else "",
        event=next((event.text for event in persona.events if event.exchange_number == exchange_number), ""),
        episode=beat.direction if beat else "",
        may_end=exchange_number >= minimum and exchange_number > last,
    )


def beat_at(persona: Persona, exchange_number: int) -> Beat | None:
    """Return the part of an episode that a message plays, if it plays one."""
    return next((beat for beat in _beats(persona) if beat.exchange_number == exchange_number), None)


def _beats(persona: Persona) -> Iterator[Beat]:
    return (beat for episode in persona.episodes for beat in episode.beats)


def _most_topics(pack: Pack, persona: Persona) -> int:
    """Return how many topics a message of the persona's writing style has room for."""
    style = pack.taxonomy.dimensions["writing_style"][persona.dimensions["writing_style"]]
    _, high = style.words or (0, MOST_TOPICS * WORDS_OF_A_TOPIC)
    return min(MOST_TOPICS, max(1, high // WORDS_OF_A_TOPIC))


def _topics(persona: Persona, exchange_number: int, draw: random.Random, most: int, most_news: int) -> tuple[list[str], dict[str, str]]:
    """Return the subtopics of a message, those with news first, and the news."""
    news = {
        topic.subtopic: what
        for topic in persona.topics
        for what, number in (("arrives", topic.arrives), ("settled", topic.settles), ("returns", topic.returns))
        if number == exchange_number > 1
    }
    weights = {topic.subtopic: topic.weight for topic in persona.topics if is_open(topic, exchange_number)}
    wanted = draw.randint(1, max(1, min(most, len(weights))))
    topics = list(news)[: max(most, most_news)]
    while len(topics) < wanted and (left := {name: weight for name, weight in weights.items() if name not in topics}):
        topics.append(pick(draw, left))
    return topics, {name: what for name, what in news.items() if name in topics}


def is_open(topic: Topic, exchange_number: int) -> bool:
    """Say whether a topic is on the persona's mind when a message is written."""
    if topic.returns is not None and exchange_number >= topic.returns:
        return True
    return topic.arrives <= exchange_number and (topic.settles is None or exchange_number < topic.settles)


def _cooperation(pack: Pack, persona: Persona, exchange_number: int) -> dict[str, float]:
    """Return the weights of what the persona makes of an answer, as its dimensions and its way along the trajectory shape them."""
    weights: dict[str, float] = dict(pack.flaws.cooperation.items())
    way = _way(persona, exchange_number)
    for dimension, value in {**persona.dimensions, "trajectory": persona.trajectory}.items():
        for name, factor in pack.taxonomy.dimensions[dimension][value].cooperation.items():
            weights[name] *= factor**way if dimension == "trajectory" else factor
    return weights


def _moods(pack: Pack, persona: Persona, exchange_number: int) -> dict[str, float]:
    """Return the weights of the moods on the way from a trajectory's beginning to its end."""
    course = pack.taxonomy.dimensions["trajectory"][persona.trajectory].moods
    assert course is not None, "a loaded pack has them"
    way = _way(persona, exchange_number)
    return {name: (1 - way) * course.begin.get(name, 0) + way * course.end.get(name, 0) for name in pack.taxonomy.moods}


def _way(persona: Persona, exchange_number: int) -> float:
    """Return how far a message is from the conversation's beginning, 0, to its end, 1."""
    return min(1.0, (exchange_number - 1) / max(1, persona.exchanges - 1))


def _days(pack: Pack, persona: Persona, exchange_number: int) -> int:
    """Return how many days pass before a message; one, where no dimension of the pack says it."""
    if exchange_number == 1:
        return 0
    ranges = [pack.taxonomy.dimensions[dimension][value].days for dimension, value in persona.dimensions.items()]
    return _drawn_days(pack.name, persona.seed, exchange_number, *next((days for days in ranges if days), (1, 1)))


@lru_cache(maxsize=4096)  # each message's date adds up those of all before it
def _drawn_days(domain: str, seed: int, exchange_number: int, low: int, high: int) -> int:
    return random.Random(seed_of("days", domain, seed, exchange_number)).randint(low, high)
