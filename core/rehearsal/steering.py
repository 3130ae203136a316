"""What the next user message is to show, drawn in code by seed rather than left to the model."""

import random
from dataclasses import dataclass

from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.records import Persona
from core.rehearsal.personas import pick


@dataclass(frozen=True)
class Steering:
    """The volatile part of the user simulator's instructions.

    Args:
        topics: subtopics to touch; flaws: names of the flaws that show.
        cooperation: what the user makes of the last answer: engage, partial, push_back or ignore.
        mood: name of the day's mood.
        days: that have passed since the last message.
        may_end: whether the user may take leave.
    """

    exchange_number: int
    target_exchanges: int
    topics: tuple[str, ...]
    flaws: tuple[str, ...]
    cooperation: str
    mood: str
    days: int
    may_end: bool


def steer(pack: Pack, persona: Persona, exchange_number: int, minimum: int) -> Steering:
    """Draw what a persona's message shows.

    Args:
        exchange_number: 1 for the first message.
        minimum: exchanges before which the user does not take leave.
    """
    draw = random.Random(seed_of("steering", pack.name, persona.seed, exchange_number))
    weights = {topic.subtopic: topic.weight for topic in persona.topics}
    wanted = draw.randint(1, min(3, len(weights)))
    topics: list[str] = []
    while len(topics) < wanted:
        name = pick(draw, weights)
        if name not in topics:
            topics.append(name)
    low, high = pack.flaws.secondary_shows
    flaws = [flaw.name for flaw in persona.flaws if draw.random() < (pack.flaws.primary_shows if flaw.level == "primary" else draw.uniform(low, high))]
    return Steering(
        exchange_number=exchange_number,
        target_exchanges=persona.exchanges,
        topics=tuple(topics),
        flaws=tuple(flaws),
        cooperation="engage" if exchange_number == 1 else pick(draw, dict(pack.flaws.cooperation)),
        mood=pick(draw, _moods(pack, persona, exchange_number)),
        days=0 if exchange_number == 1 else draw.randint(*_cadence(pack, persona)),
        may_end=exchange_number >= minimum,
    )


def _moods(pack: Pack, persona: Persona, exchange_number: int) -> dict[str, float]:
    """Return the weights of the moods on the way from a trajectory's beginning to its end."""
    course = pack.taxonomy.dimensions["trajectory"][persona.trajectory].moods
    assert course is not None, "a loaded pack has them"
    way = min(1.0, (exchange_number - 1) / max(1, persona.exchanges - 1))
    return {name: (1 - way) * course.begin.get(name, 0) + way * course.end.get(name, 0) for name in pack.taxonomy.moods}


def _cadence(pack: Pack, persona: Persona) -> tuple[int, int]:
    """Return how many days pass between two messages; one, where no dimension of the pack says it."""
    ranges = [pack.taxonomy.dimensions[dimension][value].days for dimension, value in persona.dimensions.items()]
    return next((days for days in ranges if days), (1, 1))
