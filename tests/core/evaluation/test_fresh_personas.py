"""A list of personas from a file: seeds, complete personas, and errors."""

import json

import pytest

from core.errors import PersonaError
from core.evaluation.fresh_personas import check_enough, read_personas
from core.packs.pack import load_pack
from core.rehearsal.course import steer
from core.rehearsal.personas import sample_persona
from tests.conftest import CHECKOUT


@pytest.fixture(scope="module")
def pack():
    return load_pack("therapeutic-coaching", CHECKOUT)


def write(folder, found):
    path = folder / "personas.json"
    path.write_text(json.dumps(found), encoding="utf-8")
    return path


def test_a_seed_gives_the_packs_persona_and_a_complete_persona_is_used_unchanged(tmp_path, pack):
    own = sample_persona(pack, 9100, (4, 4)).model_copy(update={"name": "Somebody", "exchanges": 7})
    first, second = read_personas(write(tmp_path, [9001, own.model_dump()]), pack, (5, 5))
    assert first == sample_persona(pack, 9001, (5, 5))
    assert second == own


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([], "is empty"),
        ({"seed": 9001}, "is not a list"),
        ([9001, 9001], "more than once, such as 9001"),
        ([9001, "Anna"], 'entry 2 is "Anna"'),
        ([True, 9001], "entry 1 is true"),
        ([9001, -1], "entry 2 is -1"),
        ([{"seed": 9001}], "entry 1: "),
    ],
)
def test_an_invalid_list_of_personas_is_refused_with_the_entry(tmp_path, pack, found, said):
    with pytest.raises(PersonaError, match=said):
        read_personas(write(tmp_path, found), pack, (5, 5))


def test_values_unknown_to_the_pack_are_refused_with_the_known_ones(tmp_path, pack):
    known = sample_persona(pack, 9001, (4, 4)).model_dump()
    dimension = next(iter(known["dimensions"]))
    wrong = {**known, "dimensions": {**known["dimensions"], dimension: "purple"}}
    with pytest.raises(PersonaError, match=f"{dimension} is 'purple'. Allowed: "):
        read_personas(write(tmp_path, [wrong]), pack, (5, 5))
    without = {**known, "dimensions": {name: value for name, value in known["dimensions"].items() if name != dimension}}
    with pytest.raises(PersonaError, match=f"no value for {dimension}"):
        read_personas(write(tmp_path, [without]), pack, (5, 5))
    flaw = {"name": "levitates", "category": "x", "level": "primary", "description": "x"}
    with pytest.raises(PersonaError, match="the flaw 'levitates', which"):
        read_personas(write(tmp_path, [{**known, "flaws": [flaw]}]), pack, (5, 5))


def late(persona):
    return {"topics": [{**topic, "arrives": 3, "settles": None, "returns": None} for topic in persona["topics"]]}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (late, "none of its topics is on the persona's mind in message 1"),
        (lambda persona: {"country": "ruritania"}, "the country 'ruritania'. Allowed: "),
        (lambda persona: {"episodes": [{"name": "abducted", "variant": "twice", "beats": []}]}, "the episode 'abducted/twice'. Allowed: "),
        (lambda persona: {"dimensions": {**persona["dimensions"], "trajectory": "up"}}, "the trajectory among its dimensions"),
        (lambda persona: {"begins": "9999-12-30"}, "`begins`: allowed are days from 1900 to 2999"),
    ],
)
def test_an_unplayable_persona_is_refused_before_it_is_played(tmp_path, pack, change, said):
    known = sample_persona(pack, 9001, (4, 4)).model_dump()
    with pytest.raises(PersonaError) as refused:
        read_personas(write(tmp_path, [{**known, **change(known)}]), pack, (5, 5))
    assert said in str(refused.value)


def test_a_persona_of_an_older_version_is_accepted(tmp_path, pack):
    known = sample_persona(pack, 9001, (4, 4)).model_dump(exclude={"begins", "life", "country", "events", "episodes"})
    known["topics"] = [{name: topic[name] for name in ("category", "subtopic", "description", "weight")} for topic in known["topics"]]
    (persona,) = read_personas(write(tmp_path, [known]), pack, None)
    assert [len(steer(pack, persona, number, 1).topics) >= 1 for number in (1, 2, 3, 4)] == [True] * 4


def test_a_persona_whose_topics_are_all_settled_in_its_last_message_can_be_played(tmp_path, pack):
    known = sample_persona(pack, 9001, (4, 4)).model_dump()
    known["topics"] = [{**topic, "arrives": 1, "settles": 4, "returns": None} for topic in known["topics"]]
    (persona,) = read_personas(write(tmp_path, [known]), pack, None)
    assert set(steer(pack, persona, 4, 1).news.values()) == {"settled"}


def test_a_missing_or_malformed_persona_file_is_named(tmp_path, pack):
    with pytest.raises(PersonaError, match="nowhere"):
        read_personas(tmp_path / "nowhere.json", pack, (5, 5))
    (tmp_path / "half.json").write_text("[9001,", encoding="utf-8")
    with pytest.raises(PersonaError, match="half"):
        read_personas(tmp_path / "half.json", pack, (5, 5))


def test_a_list_of_one_persona_is_refused_with_the_reason(pack):
    with pytest.raises(PersonaError, match=r"gives 1 persona.*at least 2, and 6 to reach p < 0\.05"):
        check_enough([sample_persona(pack, 9001)], "personas.json")
    check_enough([sample_persona(pack, 9001), sample_persona(pack, 9002)], "personas.json")
