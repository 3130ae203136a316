"""Episodes occur once or twice in a conversation, are followed up and leave room for ordinary messages."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.packs.pack import load_pack
from core.rehearsal.course import beat_at, steer
from core.rehearsal.episodes import RETURNS_FROM, SECOND_FROM
from core.rehearsal.personas import sample_batch, sample_persona
from tests.conftest import CHECKOUT
from tests.core.many_personas import many_personas

WORKSHOP = load_pack("bicycle-workshop", CHECKOUT / "tests/packs")
COACHING = load_pack("therapeutic-coaching")
PACKS = pytest.mark.parametrize("pack", [WORKSHOP, COACHING], ids=lambda pack: pack.name)
SEEDS, LENGTHS = st.integers(0, 100_000), st.integers(2, 100)


def parts(episode):
    return [beat.part for beat in episode.beats]


@PACKS
@given(seed=SEEDS, length=LENGTHS)
def test_an_episode_has_consecutive_messages_and_a_follow_up(pack, seed, length):
    persona = sample_persona(pack, seed, (length, length))
    for episode in persona.episodes:
        numbers = [beat.exchange_number for beat in episode.beats]
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
        assert numbers[0] >= 1
        assert numbers[-1] <= length
        assert parts(episode) == [part for part in ("builds", "arrives", "plays", "after") if part in parts(episode)]
        assert {"arrives", "plays"} <= set(parts(episode))


@PACKS
@given(seed=SEEDS, length=LENGTHS)
def test_episodes_do_not_overlap_and_a_short_conversation_has_at_most_one(pack, seed, length):
    persona = sample_persona(pack, seed, (length, length))
    numbers = [beat.exchange_number for episode in persona.episodes for beat in episode.beats]
    assert len(set(numbers)) == len(numbers)
    names = Counter(episode.name for episode in persona.episodes)
    assert max(names.values(), default=0) <= 1 + (length >= RETURNS_FROM)
    assert len(names) <= 1 + (length >= SECOND_FROM)


@PACKS
@given(seed=SEEDS, length=st.integers(6, 100))
def test_a_conversation_has_ordinary_messages_before_and_after_an_episode(pack, seed, length):
    persona = sample_persona(pack, seed, (length, length))
    played = {beat.exchange_number for episode in persona.episodes for beat in episode.beats}
    assert not {1, length} & played


@pytest.mark.slow
@PACKS
@given(seed=SEEDS, length=LENGTHS)
def test_a_persona_neither_leaves_nor_ignores_answers_during_an_episode(pack, seed, length):
    persona = sample_persona(pack, seed, (length, length))
    last = max((beat.exchange_number for episode in persona.episodes for beat in episode.beats), default=0)
    for number in range(1, length + 1):
        steering = steer(pack, persona, number, 1)
        beat = beat_at(persona, number)
        assert steering.episode == (beat.direction if beat else "")
        assert steering.may_end == (number > last)
        if beat and beat.part in ("plays", "after"):
            assert steering.cooperation == "engage"


@pytest.mark.slow
@PACKS
def test_the_share_of_personas_with_episodes_and_their_kinds_follow_the_pack(pack):
    batch = sample_batch(pack, 0, 1000, (12, 12))
    having = [persona for persona in batch if persona.episodes]
    assert len(having) / len(batch) == pytest.approx(pack.episodes.share, abs=0.01)
    kinds = Counter(persona.episodes[0].name for persona in having)
    for name, kind in pack.episodes.episodes.items():
        if not kind.not_with and kind.fewest_exchanges <= 12:
            assert kinds[name] / len(having) == pytest.approx(kind.weight, abs=0.05), name


@pytest.mark.slow
@PACKS
def test_episodes_take_no_more_of_the_messages_than_the_pack_allows(pack):
    batch = many_personas(pack.name)
    taken = sum(len(episode.beats) for persona in batch for episode in persona.episodes)
    assert taken / sum(persona.exchanges for persona in batch) <= pack.episodes.most_of_messages
    assert max((len(episode.beats) for persona in batch for episode in persona.episodes), default=0) <= 4


@pytest.mark.slow
def test_no_persona_has_an_episode_that_excludes_it():
    for persona in many_personas(COACHING.name):
        for episode in persona.episodes:
            kind = COACHING.episodes.episodes[episode.name]
            assert not any(persona.dimensions.get(dimension) in values for dimension, values in kind.not_with.items())
            assert kind.fewest_exchanges <= persona.exchanges


def test_a_batch_too_short_for_any_episode_can_be_drawn():
    assert all(not persona.episodes for persona in sample_batch(load_pack("therapeutic-coaching"), 0, 100, (1, 1)))
