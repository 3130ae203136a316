"""The therapeutic-coaching pack is complete and consistent."""

import re
from functools import cache
from itertools import pairwise

import pytest

from core.judging.text_facts import words
from core.packs.pack import load_pack
from core.packs.taxonomy import goes_with
from core.rehearsal.course import steer
from core.rehearsal.personas import sample_batch, sample_persona
from core.rehearsal.simulator_inputs import brief_inputs, steering_inputs
from core.scripted.lexicon import Lexicon
from tests.core.many_personas import many_personas

PACK = load_pack("therapeutic-coaching")
TOPICS = {"anxiety", "relationships", "life_transitions", "self_worth", "emotional_regulation", "financial_stress"}
FLAWS = {
    "communication": {"burying_the_lede", "rambling", "vagueness", "contradicting_oneself", "intellectualising"},
    "resistance": {"yes_but", "humour_deflection", "minimising", "testing_boundaries", "seeking_reassurance"},
    "memory": {"forgetting_insights", "rewriting_history", "mood_dependent_recall"},
    "emotional": {"catastrophising", "black_and_white_thinking", "flooding", "flat_affect", "projection", "rumination"},
}
DIMENSIONS = {
    "communication_style",
    "difficulty",
    "interaction_cadence",
    "help_seeking",
    "cognitive_pattern",
    "age_context",
    "culture",
    "communication_pattern",
    "relation_to_help",
    "presentation",
    "temporality",
    "trajectory",
    "writing_style",
    "typing",
    "leave_taking",
}
NAMES_OF_METHODS = r"\b(CBT|DBT|ACT|CFT|MI|cognitive behaviou?ral|dialectical|motivational interviewing|solution-focused|person-centred|positive psychology)\b"


def test_the_taxonomy_has_the_topics_dimensions_and_lengths_of_the_domain():
    taxonomy = PACK.taxonomy
    assert set(taxonomy.topics) == TOPICS
    assert {len(group.subtopics) for group in taxonomy.topics.values()} == {5}
    assert set(taxonomy.dimensions) == DIMENSIONS
    assert set(taxonomy.length_classes) == {"short", "medium", "long", "very_long"}
    bounds = [item.exchanges for item in taxonomy.length_classes.values()]
    assert (bounds[0][0], bounds[-1][1]) == (3, 100)
    assert all(before[1] + 1 == after[0] for before, after in pairwise(bounds))
    assert taxonomy.dimensions["trajectory"]["volatile"].weight == pytest.approx(2 / 3, abs=0.02)


def test_each_flaw_is_described_with_examples_and_notes():
    assert {category: set(kinds) for category, kinds in PACK.flaws.categories.items()} == FLAWS
    for name, kind in PACK.flaws.kinds.items():
        assert 2 <= len(kind.examples) <= 3, name
        assert len(kind.notes) > 80, name


def test_the_short_prompt_is_short_and_no_prompt_of_the_assistant_names_a_method():
    assert 130 <= len(words(PACK.prompts["system"].text)) <= 260
    for role in ("system", "assistant"):
        assert not re.search(NAMES_OF_METHODS, PACK.prompts[role].text), role


def test_the_assistants_example_answers_have_the_requested_length():
    shown = re.findall(r'^\*\*[\w ]+\.\*\* "([^\n]+)"\n\n\*Answer:\* "(.+?)"\n\n\*Why', PACK.prompts["assistant"].text, re.DOTALL | re.MULTILINE)
    assert len(shown) >= 4
    for message, answer in shown:
        assert 0.8 <= len(words(answer)) / len(words(message)) <= 2, message


def test_no_two_subtopics_share_a_word():
    lexicon = Lexicon(PACK)
    for group in PACK.taxonomy.topics.values():
        for name, subtopic in group.subtopics.items():
            for word in subtopic.words:
                assert set(lexicon.topics(word)) == {name}, word


@pytest.mark.slow
def test_a_persona_never_has_incompatible_attributes():
    subtopics = {name: subtopic for group in PACK.taxonomy.topics.values() for name, subtopic in group.subtopics.items()}
    seen = 0
    for persona in many_personas(PACK.name):
        drawn = {**persona.dimensions, "trajectory": persona.trajectory}
        for not_with in [subtopics[topic.subtopic].not_with for topic in persona.topics] + [PACK.flaws.kinds[flaw.name].not_with for flaw in persona.flaws]:
            seen += bool(not_with)
            assert goes_with(not_with, drawn), persona
    assert seen > 100


@pytest.mark.slow
def test_the_writing_style_follows_the_age():
    batch = many_personas(PACK.name)
    for age, value in PACK.taxonomy.dimensions["age_context"].items():
        group = [persona for persona in batch if persona.dimensions["age_context"] == age]
        assert len(group) == pytest.approx(len(batch) * float(str(value.weight)), abs=3)
        for style, weight in PACK.taxonomy.weights("writing_style", {"age_context": age}).items():
            assert sum(persona.dimensions["writing_style"] == style for persona in group) == pytest.approx(weight * len(group), abs=3), (age, style)


GOOD, BAD = {"lighter", "ordinary"}, {"worn_out", "low", "tense", "raw", "irritable", "flat"}


@cache
def everybody():
    return sample_batch(PACK, 0, 1000, (10, 10))


def moods(trajectory, exchange):
    return [steer(PACK, persona, exchange, 3).mood for persona in everybody() if persona.trajectory == trajectory]


def share(found, kind):
    return sum(mood in kind for mood in found) / len(found)


@pytest.mark.slow
def test_the_mood_of_a_message_follows_the_trajectory():
    assert share(moods("improving", 10), GOOD) > share(moods("improving", 1), GOOD) + 0.3
    assert share(moods("deteriorating", 10), BAD) > share(moods("deteriorating", 1), BAD) + 0.3
    assert abs(share(moods("stable", 10), GOOD) - share(moods("stable", 1), GOOD)) < 0.15


def test_a_volatile_persona_changes_its_mood_from_day_to_day():
    persona = next(persona for persona in sample_batch(PACK, 0, 100, (20, 20)) if persona.trajectory == "volatile")
    drawn = [steer(PACK, persona, number, 3).mood for number in range(1, 21)]
    assert len(set(drawn)) >= 5
    assert sum(before != after for before, after in pairwise(drawn)) >= 12
    assert drawn == [steer(PACK, persona, number, 3).mood for number in range(1, 21)]


def test_the_days_between_messages_match_the_cadence():
    for persona in sample_batch(PACK, 0, 60, (6, 6)):
        low, high = PACK.taxonomy.dimensions["interaction_cadence"][persona.dimensions["interaction_cadence"]].days or (0, 0)
        days = [steer(PACK, persona, number, 3).days for number in range(1, 7)]
        assert days[0] == 0
        assert all(low <= passed <= high for passed in days[1:])


@pytest.mark.parametrize("seed", [3, 11, 40])
def test_the_simulators_prompts_contain_the_whole_persona_and_the_days_draws(seed):
    persona = sample_persona(PACK, seed)
    steering = steer(PACK, persona, 4, 3)
    system = PACK.prompts["user_simulator"].render(**brief_inputs(PACK, persona))
    note = PACK.prompts["user_steering"].render(**steering_inputs(PACK, persona, steering))
    dimensions = [PACK.taxonomy.dimensions[name][value].description for name, value in persona.dimensions.items()]
    flaws = [PACK.flaws.kinds[flaw.name] for flaw in persona.flaws]
    for text in (persona.name, *dimensions, *(topic.description for topic in persona.topics), *(flaw.description for flaw in flaws)):
        assert text in system
    assert all(example in system for flaw in flaws for example in flaw.examples)
    assert PACK.taxonomy.moods[steering.mood] in note
    assert all(next(topic.description for topic in persona.topics if topic.subtopic == name) in note for name in steering.topics)


def reactions(personas, numbers):
    found = [steer(PACK, persona, number, 3).cooperation for persona in personas for number in numbers]
    return {name: found.count(name) / len(found) for name in PACK.flaws.cooperation}


def test_easy_personas_engage_with_answers_and_hard_ones_push_back():
    by_difficulty = {level: reactions([one for one in everybody()[:300] if one.dimensions["difficulty"] == level], range(2, 8)) for level in ("easy", "hard")}
    assert by_difficulty["easy"]["push_back"] < by_difficulty["hard"]["push_back"] / 2
    assert by_difficulty["easy"]["engage"] > by_difficulty["hard"]["engage"] + 0.2


@pytest.mark.slow
def test_improving_personas_engage_more_over_time_and_deteriorating_ones_less():
    for trajectory, sign in (("improving", 1), ("deteriorating", -1)):
        group = [one for one in everybody() if one.trajectory == trajectory and not one.episodes]
        before, after = (reactions(group, numbers)["engage"] for numbers in ((2, 3), (9, 10)))
        assert sign * (after - before) > 0.03, trajectory


def test_a_long_conversation_has_enough_topics_and_events():
    for persona in sample_batch(PACK, 0, 300):
        if persona.exchanges >= 25:
            assert len(persona.topics) >= 4, persona.id
            assert len(persona.events) >= 3, persona.id
            assert len({topic.arrives for topic in persona.topics}) > 1, persona.id


def test_writing_styles_range_from_a_line_to_a_page():
    ranges = [value.words or (0, 0) for value in PACK.taxonomy.dimensions["writing_style"].values()]
    assert min(low for low, _ in ranges) <= 15
    assert max(high for _, high in ranges) >= 400


def test_there_are_five_ways_of_leaving_and_newcomers_are_described_by_weeks():
    leaving = PACK.taxonomy.dimensions["leave_taking"]
    assert len({value.description for value in leaving.values()}) == len(leaving) >= 5
    assert "weeks" in PACK.taxonomy.dimensions["relation_to_help"]["new_to_it"].description


@pytest.mark.parametrize(
    ("one", "other"), [("my mum", "my mom"), ("my mum", "my mam"), ("my mum", "my amma"), ("instalment", "installment"), ("rota", "roster")]
)
def test_topic_words_include_british_and_american_forms(one, other):
    words_of = [word for group in PACK.taxonomy.topics.values() for item in group.subtopics.values() for word in item.words]
    assert any(one in word for word in words_of)
    assert any(other in word for word in words_of)


@pytest.mark.parametrize("domain", ["therapeutic-coaching", "coding-mentor"])
def test_phrases_of_an_episode_are_complete_sentences(domain):
    """An unquoted comma in a YAML list splits a sentence."""
    phrases = load_pack(domain).phrases
    assert phrases is not None
    for name, script in phrases.user.episodes.items():
        for sentence in [*script.arrives, *(text for texts in script.plays.values() for text in texts)]:
            assert sentence[0].isupper() or not sentence[0].isalpha(), (name, sentence)
            assert sentence[-1] in ".?!)\"'", (name, sentence)
