"""The course of a conversation: calendar, topics, events and cooperation follow the persona."""

from collections import Counter
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.packs.pack import load_pack
from core.rehearsal.course import is_open, steer
from core.rehearsal.personas import sample_batch, sample_persona
from tests.core.many_personas import COUNT, many_personas

PACK = load_pack("therapeutic-coaching")
SEEDS, LENGTHS = st.integers(0, 100_000), st.integers(2, 100)


def course(persona, minimum=3):
    return [steer(PACK, persona, number, minimum) for number in range(1, persona.exchanges + 1)]


@pytest.mark.slow
@given(seed=SEEDS, length=LENGTHS)
def test_the_days_between_messages_match_the_notes(seed, length):
    persona = sample_persona(PACK, seed, (length, length))
    day = date.fromisoformat(persona.begins or "")
    for steering in course(persona):
        day += timedelta(days=steering.days)
        assert steering.date == f"{day:%A} {day.day} {day:%B}"


@pytest.mark.slow
@given(seed=SEEDS, length=LENGTHS)
def test_a_message_is_about_current_topics_or_those_settled_that_day(seed, length):
    persona = sample_persona(PACK, seed, (length, length))
    topics = {topic.subtopic: topic for topic in persona.topics}
    for steering in course(persona):
        assert steering.topics
        assert len(set(steering.topics)) == len(steering.topics)
        for name in steering.topics:
            assert is_open(topics[name], steering.exchange_number) or steering.news.get(name) == "settled"


@pytest.mark.slow
@given(seed=SEEDS, length=LENGTHS)
def test_topics_arrive_are_settled_and_return_in_order_and_the_notes_say_so(seed, length):
    persona = sample_persona(PACK, seed, (length, length))
    steerings = {steering.exchange_number: steering for steering in course(persona)}
    taken = {beat.exchange_number for episode in persona.episodes for beat in episode.beats}
    news = Counter(number for topic in persona.topics for number in (topic.arrives, topic.settles, topic.returns) if number)
    for topic in persona.topics:
        numbers = [number for number in (topic.arrives, topic.settles, topic.returns) if number is not None]
        assert numbers == sorted(set(numbers))
        assert numbers[0] >= 1
        assert numbers[-1] <= length
        for what, number in (("arrives", topic.arrives), ("settled", topic.settles), ("returns", topic.returns)):
            if number and number > 1 and number not in taken and news[number] <= 3:
                assert steerings[number].news[topic.subtopic] == what


@pytest.mark.slow
def test_a_long_conversation_has_topics_that_come_and_go():
    batch = sample_batch(PACK, 0, 300, (40, 40))
    assert all(any(topic.arrives > 1 for topic in persona.topics) for persona in batch)
    assert sum(any(topic.settles for topic in persona.topics) for persona in batch) > 200
    assert sum(any(topic.returns for topic in persona.topics) for persona in batch) > 100


@pytest.mark.parametrize("length", [10, 20, 40])
def test_the_heaviest_topic_is_not_settled_soon(length):
    for persona in sample_batch(PACK, 0, 100, (length, length)):
        heaviest = max(topic.weight for topic in persona.topics)
        stays = [topic.settles - topic.arrives for topic in persona.topics if topic.settles and topic.weight == heaviest]
        assert all(stay >= max(6, length // 3 - 1) for stay in stays)


@given(seed=SEEDS, length=LENGTHS)
def test_events_are_dated_and_never_fall_into_an_episode(seed, length):
    persona = sample_persona(PACK, seed, (length, length))
    numbers = [event.exchange_number for event in persona.events]
    assert len(set(numbers)) == len(numbers)
    assert len({event.text for event in persona.events}) == len(numbers)
    taken = {beat.exchange_number for episode in persona.episodes for beat in episode.beats}
    assert not taken & set(numbers)
    for event in persona.events:
        assert steer(PACK, persona, event.exchange_number, 3).event == event.text


def cooperation(personas, difficulty):
    alike = [persona for persona in personas if persona.dimensions["difficulty"] == difficulty]
    drawn = Counter(steering.cooperation for persona in alike for steering in course(persona)[1:])
    return {name: count / drawn.total() for name, count in drawn.items()}


@pytest.mark.slow
def test_easy_people_push_back_less_than_hard_ones():
    personas = sample_batch(PACK, 0, 300, (12, 12))
    easy, hard = cooperation(personas, "easy"), cooperation(personas, "hard")
    assert easy["push_back"] < hard["push_back"] / 1.5
    assert easy["engage"] > hard["engage"] + 0.1


@pytest.mark.slow
def test_most_personas_have_a_country_and_a_quarter_of_these_is_unknown_to_the_assistant():
    services, batch = PACK.services, many_personas(PACK.name)
    assert services
    assert all(persona.life["place"] and persona.life["english"] for persona in batch)
    assert sum(persona.country is None for persona in batch) / COUNT == pytest.approx(0.25, abs=0.02)
    for persona in batch:
        if persona.country:
            assert persona.life["place"].endswith(PACK.life.countries[persona.country].name)
            assert services.countries[persona.country] in PACK.system(persona.country)
    assert services.unknown in PACK.system()
