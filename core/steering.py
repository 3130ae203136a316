"""What the next user message is to show, drawn in code by seed rather than left to the model."""

import random
from dataclasses import dataclass

from core.fingerprint import seed_of
from core.pack import Pack
from core.personas import pick
from core.records import Persona


@dataclass(frozen=True)
class Steering:
    """The volatile part of the user simulator's instructions.

    Args:
        topics: subtopics to touch; flaws: names of the flaws that show.
        cooperation: what the user makes of the last answer: engage, partial, push_back or ignore.
        mood: a sentence; may_end: whether the user may take leave.
    """

    exchange_number: int
    target_exchanges: int
    topics: tuple[str, ...]
    flaws: tuple[str, ...]
    cooperation: str
    mood: str
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
        mood=pack.taxonomy.dimensions["trajectory"][persona.trajectory].description,
        may_end=exchange_number >= minimum,
    )
