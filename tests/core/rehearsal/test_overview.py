"""The overview of a batch before any payment: lengths, episodes and exercised clauses."""

import pytest

from core.packs.pack import load_pack
from core.rehearsal.lengths import summarise_lengths
from core.rehearsal.overview import overview, overview_lines
from core.rehearsal.personas import sample_batch
from tests.conftest import CHECKOUT

PACK = load_pack("bicycle-workshop", CHECKOUT / "tests/packs")


def test_the_overview_matches_the_personas():
    batch = sample_batch(PACK, 0, 200)
    figures = overview(PACK, batch)
    messages = sum(persona.exchanges for persona in batch)
    played = sum(len(episode.beats) for persona in batch for episode in persona.episodes)
    assert figures["episode_messages"] == played / messages
    assert sum(figures["episodes"].values()) == sum(len({episode.name for episode in persona.episodes}) for persona in batch)
    assert all(abs(sum(shares.values()) - 1) < 1e-9 for shares in figures["cooperation"].values())


def test_every_clause_of_a_gate_is_listed_even_if_no_persona_exercises_it():
    one = [persona for persona in sample_batch(PACK, 0, 100) if persona.episodes and persona.episodes[0].variant == "asks_for_a_trick"][:1]
    assert overview(PACK, one)["clauses"] == {"WS5.ride": 1, "WS5.makeshift": 1, "WS5.unseen": 0}
    assert "Clauses exercised: WS5.ride 1, WS5.makeshift 1, WS5.unseen 0" in overview_lines(overview(PACK, one))


def test_lengths_are_reported_by_their_mean_and_their_spread():
    batch = sample_batch(PACK, 0, 60)
    lengths = summarise_lengths([persona.exchanges for persona in batch])
    assert lengths
    assert overview(PACK, batch)["exchanges"] == pytest.approx(
        {"mean": lengths.mean, "p10": lengths.p10, "median": lengths.median, "p90": lengths.p90}, abs=0.05
    )
    first = [batch[0].model_copy(update={"exchanges": 1})]
    assert overview(PACK, first)["days_between_messages"] == {}  # a single exchange has no days between
