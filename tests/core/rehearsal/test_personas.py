"""A seed gives the same persona everywhere, and a batch follows the taxonomy."""

import os
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import pytest

from core.errors import PersonaError
from core.packs.pack import load_pack
from core.packs.taxonomy import LengthClass
from core.rehearsal.course import steer
from core.rehearsal.coverage import coverage
from core.rehearsal.personas import check_seeds_apart, sample_batch, sample_persona
from tests.conftest import CHECKOUT
from tests.core.many_personas import COUNT, many_personas

PACK = load_pack("therapeutic-coaching")


@pytest.mark.slow
def test_a_seed_gives_the_same_persona_and_a_pack_the_same_hash_in_another_process():
    code = """
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_persona
print(load_pack("therapeutic-coaching").hash, sample_persona(load_pack("therapeutic-coaching"), 17).model_dump_json())
"""
    other_seed = "1" if os.environ.get("PYTHONHASHSEED") != "1" else "2"
    found = subprocess.run(
        [sys.executable, "-c", code], cwd=CHECKOUT, env={**os.environ, "PYTHONHASHSEED": other_seed}, capture_output=True, text=True, check=True
    )
    assert found.stdout.strip() == f"{PACK.hash} {sample_persona(PACK, 17).model_dump_json()}"


@pytest.mark.slow
def test_personas_stay_within_the_taxonomys_bounds():
    for persona in sample_batch(PACK, 0, 200):
        low, high = PACK.taxonomy.length_class(persona.exchanges).topics or PACK.taxonomy.topics_per_persona
        assert low <= len(persona.topics) <= high
        assert len({topic.subtopic for topic in persona.topics}) == len(persona.topics)
        assert 3 <= persona.exchanges <= 100
        assert len({flaw.name for flaw in persona.flaws}) == len(persona.flaws)
        assert [flaw.level for flaw in persona.flaws].count("primary") == bool(persona.flaws)


@pytest.mark.slow
def test_a_large_batch_has_the_configured_weights():
    batch = many_personas(PACK.name)
    trajectories = Counter(persona.trajectory for persona in batch)
    for name, value in PACK.taxonomy.dimensions["trajectory"].items():
        assert trajectories[name] / COUNT == pytest.approx(value.weight, abs=0.04)
    assert sum(not persona.flaws for persona in batch) / COUNT == pytest.approx(PACK.flaws.none_share, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize(("first", "count"), [(0, 16), (0, 96), (9000, 8), (37, 100), (500, 20), (0, 400)])
def test_a_batch_matches_the_weights_as_closely_as_its_size_allows(first, count):
    """Counts are within three of the expected ones for any first seed; simple random draws of a hundred are off by five and more."""
    rows = [row for row in coverage(PACK, sample_batch(PACK, first, count)) if row.dimension not in ("topic", "subtopic")]
    assert rows
    dimensions = [row for row in rows if row.dimension not in ("primary flaw", "episode")]
    assert [row for row in dimensions if abs(row.got - row.due) > 3.01] == []
    # which flaws and episodes a persona can have depends on its dimensions, so that they cannot all be as even
    assert [row for row in rows if row.dimension in ("primary flaw", "episode") and abs(row.got - row.due) > 5.5] == []


@pytest.mark.slow
@pytest.mark.parametrize(("first", "count"), [(0, 96), (37, 100), (0, 400)])
def test_a_batch_covers_the_topics(first, count):
    rows = [row for row in coverage(PACK, sample_batch(PACK, first, count)) if row.dimension in ("topic", "subtopic")]
    assert all(row.got for row in rows)
    # how many topics a persona has depends on its length, so that those of long conversations cannot be as even
    assert [row for row in rows if row.dimension == "topic" and abs(row.got - row.due) > max(5, 0.05 * row.due)] == []


@pytest.mark.slow
def test_dimensions_are_independent():
    batch = many_personas(PACK.name)
    volatile = [persona.trajectory == "volatile" for persona in batch]
    flawless = [not persona.flaws for persona in batch]
    both = sum(a and b for a, b in zip(volatile, flawless, strict=True)) / 1024
    assert both == pytest.approx(sum(volatile) / 1024 * sum(flawless) / 1024, abs=0.03)


@pytest.mark.slow
def test_a_name_is_reused_only_after_all_the_others():
    pack = load_pack("bicycle-workshop", CHECKOUT / "tests/packs")
    count = len(pack.taxonomy.names)
    names = [persona.name for persona in sample_batch(pack, 0, 3 * count)]
    for turn in range(3):
        assert sorted(names[turn * count : (turn + 1) * count]) == sorted(pack.taxonomy.names)


@pytest.mark.slow
def test_names_fit_the_personas_country_and_none_is_used_in_all():
    used: dict[str, Counter[str]] = {}
    for persona in many_personas(PACK.name):
        country = next(item for item in PACK.life.countries.values() if persona.life["place"].endswith(item.name))
        assert persona.name in country.names
        used.setdefault(country.name, Counter())[persona.name] += 1
    for names in used.values():
        assert max(names.values()) <= 2 + names.total() / 24


@pytest.mark.slow
def test_flaws_occur_as_often_as_the_pack_says():
    shown = Counter()
    chances = Counter()
    for persona in sample_batch(PACK, 0, 300):
        for exchange in range(1, 11):
            steering = steer(PACK, persona, exchange, minimum=3)
            for flaw in persona.flaws:
                if exchange < PACK.flaws.kinds[flaw.name].from_exchange:
                    assert flaw.name not in steering.flaws  # such a flaw needs earlier exchanges
                    continue
                chances[flaw.level] += 1
                shown[flaw.level] += flaw.name in steering.flaws
    assert shown["primary"] / chances["primary"] == pytest.approx(PACK.flaws.primary_shows, abs=0.04)
    assert PACK.flaws.secondary_shows[0] - 0.03 <= shown["secondary"] / chances["secondary"] <= PACK.flaws.secondary_shows[1] + 0.03


def test_a_training_persona_is_never_an_evaluation_persona():
    check_seeds_apart([1, 2, 3], [9000, 9001])
    with pytest.raises(PersonaError, match="9001"):
        check_seeds_apart([1, 9001], [9000, 9001])


def test_overlapping_length_classes_keep_their_own_topics_and_events():
    classes = {
        "short": LengthClass(weight=0.5, exchanges=(2, 20), topics=(1, 1)),
        "long": LengthClass(weight=0.5, exchanges=(4, 6), topics=(3, 3), events=(1, 1)),
    }
    pack = replace(PACK, taxonomy=PACK.taxonomy.model_copy(update={"length_classes": classes}))
    found = [(len(persona.topics), len(persona.events)) for persona in sample_batch(pack, 0, 64)]
    assert [found.count(pair) for pair in ((1, 0), (3, 1))] == [32, 32]
