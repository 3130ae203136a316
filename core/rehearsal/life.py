"""A persona's life: its circumstances, its home, the events between its messages, and when its topics come and go."""

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
"""Share of personas whose country the assistant does not know, as in an application that does not ask for it."""
COURSE_FROM = 9
"""Minimum exchanges of a conversation in which topics come and go; a shorter one has all its topics from the beginning."""
SETTLED = 0.5
"""Share of topics, except the first, that are settled during the conversation, and share of the settled topics that come back."""
HEAVIEST_STAYS = 2
"""Factor by which the topic of the greatest weight stays longer than another before it may be settled."""


def first_day(pack: Pack, seed: int) -> date:
    """Return the day of a persona's first message."""
    return FIRST_DAY + timedelta(days=int(spread(seed, pack.name, "first day") * DAYS))


def draw_life(pack: Pack, seed: int, drawn: Mapping[str, str], topics: Sequence[Topic]) -> tuple[dict[str, str], str | None]:
    """Return the facts of a persona's life by name, and the name of its country, which is None if the assistant does not know it.

    If the pack has countries, the facts include the persona's `place` and the variety of `english` spoken there.

    Args:
        drawn: the persona's value of each dimension.
        topics: the persona's topics; no fact contradicts them or the dimensions.
    """
    life, facts, subtopics = pack.life, dict[str, str](), [topic.subtopic for topic in topics]
    for name, texts in life.facts.items():
        suitable = [detail.text for detail in (texts[drawn[life.by or ""]] if isinstance(texts, dict) else texts) if detail.suits(drawn, subtopics)]
        facts[name] = suitable[int(spread(seed, pack.name, "fact", name) * len(suitable))]
    if (residence := home(pack, seed)) is None:
        return facts, None
    name, _ = residence
    country = life.countries[name]
    place = country.places[int(spread(seed, pack.name, "place") * len(country.places))]
    facts |= {"place": f"{place}, {country.name}", "english": country.english}
    return facts, None if spread(seed, pack.name, "country known") < UNKNOWN_COUNTRY else name


def home(pack: Pack, seed: int) -> tuple[str, float] | None:
    """Return the name of a persona's country and the persona's position among its residents, from 0 to 1; None if the pack has no countries."""
    weights = {name: country.weight for name, country in pack.life.countries.items()}
    place = spread(seed, pack.name, "country")
    return (at(weights, place), within(weights, place)) if weights else None


def draw_events(
    pack: Pack, seed: int, drawn: Mapping[str, str], topics: Sequence[Topic], exchanges: int, how_many: tuple[int, int], taken: Collection[int]
) -> list[LifeEvent]:
    """Return the events between a persona's messages, in order.

    Args:
        drawn: the persona's value of each dimension.
        topics: the persona's topics; no event contradicts them or the dimensions.
        exchanges: length of the conversation.
        how_many: minimum and maximum number of events.
        taken: numbers of the messages that get no event, such as those of an episode.
    """
    low, high = how_many
    draw = random.Random(seed_of("events", pack.name, seed))
    texts = [event.text for event in pack.life.events if event.suits(drawn, [topic.subtopic for topic in topics])]
    free = [number for number in range(2, exchanges + 1) if number not in taken]
    count = min(low + int(spread(seed, pack.name, "events") * (high - low + 1)), len(texts), len(free))
    chosen, numbers = draw.sample(texts, count), sorted(draw.sample(free, count))
    return [LifeEvent(exchange_number=number, text=text) for number, text in zip(numbers, chosen, strict=True)]


def with_courses(pack: Pack, seed: int, topics: Sequence[Topic], exchanges: int) -> list[Topic]:
    """Return a persona's topics with the numbers of the messages in which they arrive, are settled and come back."""
    if exchanges < COURSE_FROM:
        return list(topics)
    draw, count, courses = random.Random(seed_of("courses", pack.name, seed)), len(topics), list[Topic]()
    heaviest = max(topic.weight for topic in topics)
    for place, topic in enumerate(topics):
        # half of the topics arrive at the beginning, the others over the first two thirds of the conversation
        late = max(0, place - (count - 1) // 2)
        arrives = 1 + (late * 2 * exchanges) // (3 * max(1, count - (count - 1) // 2)) if late else 1
        settles = returns = None
        stays = max(3, exchanges // 6) * (HEAVIEST_STAYS if topic.weight == heaviest else 1)
        if place and draw.random() < SETTLED and (first := arrives + stays) <= exchanges - 2:
            settles = draw.randint(first, min(exchanges - 2, first + exchanges // 4))
            if draw.random() < SETTLED and (back := settles + max(3, exchanges // 6)) <= exchanges:
                returns = draw.randint(back, exchanges)
        courses.append(topic.model_copy(update={"arrives": arrives, "settles": settles, "returns": returns}))
    return courses
