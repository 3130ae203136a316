"""What a persona lives on and where, what happens to it, and when its topics come and go."""

import random
from collections.abc import Collection, Mapping, Sequence
from datetime import date, timedelta

from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.records import LifeEvent, Topic
from core.rehearsal.low_discrepancy import at, spread, within

FIRST_DAY, DAYS = date(2026, 1, 1), 365
"""Conversations begin on the days of one year, so that all weekdays and seasons occur."""
UNKNOWN_COUNTRY = 0.25
"""Share of personas whose country the assistant does not know, as in any application that does not ask."""
COURSE_FROM = 9
"""Exchanges from which on topics come and go; a shorter conversation has all of its own from the beginning."""
SETTLED = 0.5
"""Share of topics that are settled on the way, but for the first, and of those that come back."""
HEAVIEST_STAYS = 2
"""Times as long before it may be settled as another topic: what weighs most does not rest so soon."""


def first_day(pack: Pack, seed: int) -> date:
    """Return the day of a persona's first message."""
    return FIRST_DAY + timedelta(days=int(spread(seed, pack.name, "first day") * DAYS))


def draw_life(pack: Pack, seed: int, drawn: Mapping[str, str], topics: Sequence[Topic]) -> tuple[dict[str, str], str | None]:
    """Return the facts of a persona's life, with its place and the English of it, and its country where the assistant knows it.

    Args:
        drawn: what the persona has of the dimensions.
        topics: the persona's, which no fact contradicts.
    """
    life, facts, subtopics = pack.life, dict[str, str](), [topic.subtopic for topic in topics]
    for name, texts in life.facts.items():
        own = [detail.text for detail in (texts[drawn[life.by or ""]] if isinstance(texts, dict) else texts) if detail.suits(drawn, subtopics)]
        facts[name] = own[int(spread(seed, pack.name, "fact", name) * len(own))]
    if (found := home(pack, seed)) is None:
        return facts, None
    name, _ = found
    country = life.countries[name]
    place = country.places[int(spread(seed, pack.name, "place") * len(country.places))]
    facts |= {"place": f"{place}, {country.name}", "english": country.english}
    return facts, None if spread(seed, pack.name, "country known") < UNKNOWN_COUNTRY else name


def home(pack: Pack, seed: int) -> tuple[str, float] | None:
    """Return the country that a persona lives in, and where among its people, between 0 and 1; none where the pack has no countries."""
    weights = {name: country.weight for name, country in pack.life.countries.items()}
    place = spread(seed, pack.name, "country")
    return (at(weights, place), within(weights, place)) if weights else None


def draw_events(
    pack: Pack, seed: int, drawn: Mapping[str, str], topics: Sequence[Topic], exchanges: int, how_many: tuple[int, int], taken: Collection[int]
) -> list[LifeEvent]:
    """Return what happens to a persona between its messages, in order.

    Args:
        drawn, topics: what the persona has of the dimensions, and its topics, which no event contradicts.
        how_many: fewest and most.
        taken: numbers of messages that are full already, as those of an episode.
    """
    low, high = how_many
    draw = random.Random(seed_of("events", pack.name, seed))
    texts = [event.text for event in pack.life.events if event.suits(drawn, [topic.subtopic for topic in topics])]
    free = [number for number in range(2, exchanges + 1) if number not in taken]
    count = min(low + int(spread(seed, pack.name, "events") * (high - low + 1)), len(texts), len(free))
    chosen, numbers = draw.sample(texts, count), sorted(draw.sample(free, count))
    return [LifeEvent(exchange_number=number, text=text) for number, text in zip(numbers, chosen, strict=True)]


def with_courses(pack: Pack, seed: int, topics: Sequence[Topic], exchanges: int) -> list[Topic]:
    """Return a persona's topics with the messages in which they arrive, are settled and come back."""
    if exchanges < COURSE_FROM:
        return list(topics)
    draw, count, found = random.Random(seed_of("courses", pack.name, seed)), len(topics), list[Topic]()
    heaviest = max(topic.weight for topic in topics)
    for place, topic in enumerate(topics):
        # half of them from the beginning, the others over the first two thirds
        late = max(0, place - (count - 1) // 2)
        arrives = 1 + (late * 2 * exchanges) // (3 * max(1, count - (count - 1) // 2)) if late else 1
        settles = returns = None
        stays = max(3, exchanges // 6) * (HEAVIEST_STAYS if topic.weight == heaviest else 1)
        if place and draw.random() < SETTLED and (first := arrives + stays) <= exchanges - 2:
            settles = draw.randint(first, min(exchanges - 2, first + exchanges // 4))
            if draw.random() < SETTLED and (back := settles + max(3, exchanges // 6)) <= exchanges:
                returns = draw.randint(back, exchanges)
        found.append(topic.model_copy(update={"arrives": arrives, "settles": settles, "returns": returns}))
    return found
