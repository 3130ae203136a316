"""The lives of personas: varied, consistent and from all countries."""

from collections import Counter

import pytest
import yaml

from core.errors import PackError
from core.packs.life import TOPIC
from core.packs.pack import load_pack
from core.rehearsal.personas import sample_batch
from tests.conftest import CHECKOUT

PACK = load_pack("therapeutic-coaching", CHECKOUT)
LIFE = PACK.life
MENTOR = load_pack("coding-mentor", CHECKOUT)
COUNTRIES = {
    *("united_kingdom", "ireland", "united_states", "canada", "australia", "new_zealand", "india", "south_africa", "nigeria", "kenya", "singapore"),
    *("philippines", "germany", "netherlands", "jamaica"),
}
EACH_AGE = {"occupation": 22, "household": 12}
EVERYBODY = {"week": 25, "body": 25, "money": 16, "interest": 25}


def lists_of(life):
    return [own for texts in life.facts.values() for own in (texts.values() if isinstance(texts, dict) else [texts])]


def all_texts(life):
    return [detail.text for own in [*lists_of(life), life.events] for detail in own]


def test_the_pack_has_enough_variety_for_different_lives():
    assert LIFE.by == "age_context"
    for name, least in EACH_AGE.items():
        by_age = LIFE.facts[name]
        assert isinstance(by_age, dict)
        assert set(by_age) == set(PACK.taxonomy.dimensions["age_context"])
        assert min(map(len, by_age.values())) >= least, name
    for name, least in EVERYBODY.items():
        assert len(LIFE.facts[name]) >= least, name
    assert len(LIFE.events) >= 70


def test_learners_differ_in_work_machine_hours_and_company():
    assert MENTOR.life.by == "goal"
    assert set(MENTOR.life.facts) == {"occupation", "machine", "when_and_where", "people_around", "habit"}
    assert min(map(len, lists_of(MENTOR.life))) >= 16
    assert len(MENTOR.life.events) >= 30
    assert not MENTOR.life.countries


def test_a_learners_goal_fits_their_background():
    for persona in sample_batch(MENTOR, 0, 300):
        at_work = persona.dimensions["experience"] == "junior_at_work"
        assert at_work == (persona.dimensions["goal"] == "the_job_they_have"), persona.id
        if at_work:
            assert not {episode.name for episode in persona.episodes} & {"graded_work", "exam_under_way", "application_task", "looks_like_mine"}


@pytest.mark.parametrize("life", [LIFE, MENTOR.life], ids=["therapeutic-coaching", "coding-mentor"])
def test_no_two_texts_of_a_life_are_equal_or_have_the_same_beginning(life):
    texts = all_texts(life)
    assert [text for text, times in Counter(text.lower() for text in texts).items() if times > 1] == []
    beginnings = Counter(" ".join(text.lower().split()[:5]) for text in texts)
    assert [beginning for beginning, times in beginnings.items() if times > 1] == []


def test_personas_live_in_all_countries_and_different_places():
    assert set(LIFE.countries) == COUNTRIES
    assert PACK.services
    assert set(PACK.services.countries) == COUNTRIES
    for name, country in LIFE.countries.items():
        assert 6 <= len(set(country.places)) == len(country.places) <= 10, name
        assert country.english, name
        assert country.weight <= 0.25, name


@pytest.mark.slow
@pytest.mark.parametrize("pack", [PACK, MENTOR], ids=lambda pack: pack.name)
def test_no_detail_of_a_life_contradicts_a_topic_of_the_persona(pack):
    details = {detail.text: detail for detail in pack.life.details}
    for persona in sample_batch(pack, 0, 300):
        subtopics = {topic.subtopic for topic in persona.topics}
        given = {name: text for name, text in persona.life.items() if name in pack.life.facts}
        for episode in persona.episodes:
            for name in pack.episodes.episodes[episode.name].life:
                given.pop(name, None)
        for text in [*given.values(), *(event.text for event in persona.events)]:
            assert not subtopics & set(details[text].not_with.get(TOPIC, ())), persona.id


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"facts": {"week": []}}, "without a text that suits every persona"),
        ({"facts": {"week": [{"text": "chess on Fridays", "not_with": {"topic": ["night_worry"]}}]}}, "without a text that suits every persona"),
        ({"events": [{"text": "A letter.", "not_with": {"topic": ["chess"]}}]}, "chess"),
        ({"events": [{"text": "A letter.", "not_with": {"shoe_size": ["43"]}}]}, "shoe_size"),
        ({"by": None}, "name it in `by`"),
        ({"facts": {"place": ["by the sea"]}}, "facts.place would be replaced"),
        ({"countries": {key: {"weight": 0.5, "name": "Ruritania", "english": "e", "places": ["Strelsau"]} for key in ("a", "b")}}, "named twice"),
    ],
)
def test_a_life_file_that_does_not_fit_its_pack_is_refused(pack_copy, change, named):
    file = pack_copy / "config/domains/therapeutic-coaching/life.yaml"
    whole = yaml.safe_load(file.read_text(encoding="utf-8"))
    changed = {**whole, **change, "facts": {**whole["facts"], **change.get("facts", {})}}
    file.write_text(yaml.safe_dump(changed), encoding="utf-8")
    with pytest.raises(PackError, match=named):
        load_pack("therapeutic-coaching", pack_copy)
