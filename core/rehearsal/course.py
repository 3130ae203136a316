"""What the next user message must show: drawn in code by seed, not left to the model."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.records import Beat, Persona, Topic
from core.rehearsal.personas import pick

MAX_TOPICS, WORDS_PER_TOPIC = 3, 40
"""Maximum topics of one message, and the words that each needs: three topics in twenty words would be a list."""


@dataclass(frozen=True)
class Steering:
    """The volatile part of the user simulator's instructions.

    Args:
        exchange_number: number of the message, from 1.
        target_exchanges: planned length of the conversation.
        topics: subtopics to mention.
        news: the change of each subtopic that changes in this message: arrives, settled or returns.
        flaws: names of the flaws to show.
        cooperation: reaction to the last answer: engage, partial, push_back or ignore.
        mood: name of the day's mood.
        days: days since the last message.
        date: weekday, day and month; empty if the persona has no calendar.
        event: what happened since the last message; empty if nothing did.
        episode: stage direction of the edge case that this message is part of; empty if there is none.
        may_end: whether the user may say goodbye.
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
    """Return what a persona's message must show, drawn from the persona's seed.

    Args:
        exchange_number: 1 for the first message.
        minimum: number of the first exchange in which the user may say goodbye.
    """
    draw = random.Random(seed_of("steering", pack.name, persona.seed, exchange_number))
    beat = beat_at(persona, exchange_number)
    topics, news = _topics(persona, exchange_number, draw, *((1, 1) if beat else (_max_topics(pack, persona), MAX_TOPICS)))
    low, high = pack.flaws.secondary_shows
    flaws = [flaw.name for flaw in persona.flaws if draw.random() < (pack.flaws.primary_shows if flaw.level == "primary" else draw.uniform(low, high))]
    flaws = [name for name in flaws if name not in pack.flaws.kinds or exchange_number >= pack.flaws.kinds[name].from_exchange]
    cooperation = pick(draw, _cooperation(pack, persona, exchange_number))
    if exchange_number == 1 or (beat and beat.part in ("plays", "after")):  # a user does not ignore the assistant's question about a danger
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
    """Return the part of an episode that a message plays, or None."""
    return next((beat for beat in _beats(persona) if beat.exchange_number == exchange_number), None)


def _beats(persona: Persona) -> Iterator[Beat]:
    return (beat for episode in persona.episodes for beat in episode.beats)


def _max_topics(pack: Pack, persona: Persona) -> int:
    """Return how many topics fit into a message of the persona's writing style."""
    style = pack.taxonomy.dimensions["writing_style"][persona.dimensions["writing_style"]]
    _, high = style.words or (0, MAX_TOPICS * WORDS_PER_TOPIC)
    return min(MAX_TOPICS, max(1, high // WORDS_PER_TOPIC))


def _topics(persona: Persona, exchange_number: int, draw: random.Random, max_topics: int, max_news: int) -> tuple[list[str], dict[str, str]]:
    """Return the subtopics of a message, those with news first, and the news by subtopic.

    Args:
        max_topics: maximum subtopics of the message.
        max_news: subtopics with news that the message may have, even if they are more than `max_topics`.
    """
    news = {
        topic.subtopic: change
        for topic in persona.topics
        for change, number in (("arrives", topic.arrives), ("settled", topic.settles), ("returns", topic.returns))
        if number == exchange_number > 1
    }
    weights = {topic.subtopic: topic.weight for topic in persona.topics if is_open(topic, exchange_number)}
    count = draw.randint(1, max(1, min(max_topics, len(weights))))
    topics = list(news)[: max(max_topics, max_news)]
    while len(topics) < count and (left := {name: weight for name, weight in weights.items() if name not in topics}):
        topics.append(pick(draw, left))
    return topics, {name: change for name, change in news.items() if name in topics}


def is_open(topic: Topic, exchange_number: int) -> bool:
    """Return whether a topic is on the persona's mind in a message: it has arrived and is not settled, or it has returned."""
    if topic.returns is not None and exchange_number >= topic.returns:
        return True
    return topic.arrives <= exchange_number and (topic.settles is None or exchange_number < topic.settles)


def _cooperation(pack: Pack, persona: Persona, exchange_number: int) -> dict[str, float]:
    """Return the weights of the persona's reactions to an answer.

    The pack's weights are multiplied by the factors of the persona's dimensions. A trajectory's factor gains its full effect at the end of the
    conversation.
    """
    weights: dict[str, float] = dict(pack.flaws.cooperation.items())
    progress = _progress(persona, exchange_number)
    for dimension, value in {**persona.dimensions, "trajectory": persona.trajectory}.items():
        for name, factor in pack.taxonomy.dimensions[dimension][value].cooperation.items():
            weights[name] *= factor**progress if dimension == "trajectory" else factor
    return weights


def _moods(pack: Pack, persona: Persona, exchange_number: int) -> dict[str, float]:
    """Return the weights of the moods, interpolated between the beginning and the end of the persona's trajectory."""
    course = pack.taxonomy.dimensions["trajectory"][persona.trajectory].moods
    assert course is not None, "a loaded pack has them"
    progress = _progress(persona, exchange_number)
    return {name: (1 - progress) * course.begin.get(name, 0) + progress * course.end.get(name, 0) for name in pack.taxonomy.moods}


def _progress(persona: Persona, exchange_number: int) -> float:
    """Return a message's position in its conversation, from 0 at the beginning to 1 at the end."""
    return min(1.0, (exchange_number - 1) / max(1, persona.exchanges - 1))


def _days(pack: Pack, persona: Persona, exchange_number: int) -> int:
    """Return how many days pass before a message: 0 before the first, 1 if no dimension of the pack defines a range."""
    if exchange_number == 1:
        return 0
    ranges = [pack.taxonomy.dimensions[dimension][value].days for dimension, value in persona.dimensions.items()]
    return _drawn_days(pack.name, persona.seed, exchange_number, *next((days for days in ranges if days), (1, 1)))


@lru_cache(maxsize=4096)  # the date of each message sums the days before all earlier ones
def _drawn_days(domain: str, seed: int, exchange_number: int, low: int, high: int) -> int:
    return random.Random(seed_of("days", domain, seed, exchange_number)).randint(low, high)
