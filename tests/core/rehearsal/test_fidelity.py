"""A simulator that ignores its persona is detected by lengths, flaws, topics, openers, questions and refusals."""

import json
import time

import pytest

from core.imports.transcript_files import read_transcript
from core.packs.pack import load_pack
from core.records import EndReason, Exchange, Transcript
from core.rehearsal.conversation import rehearse
from core.rehearsal.course import steer
from core.rehearsal.fidelity import measure_fidelity
from core.rehearsal.own_words import own_words
from core.rehearsal.personas import sample_batch
from core.rehearsal.turns import Cast, Player
from core.reports.rehearsals import fidelity_markdown
from core.scripted.chat import ScriptedChat

PACK = load_pack("therapeutic-coaching")


def transcript(persona, texts, answers=None, **provenance):
    answers = answers or ["That is a lot for one week."] * len(texts)
    exchanges = [Exchange(exchange_number=n, user=text, assistant=answer) for n, (text, answer) in enumerate(zip(texts, answers, strict=True), 1)]
    steering = [
        {"flaws": list(d.flaws), "topics": list(d.topics), "cooperation": d.cooperation} for d in (steer(PACK, persona, n + 1, 3) for n in range(len(texts)))
    ]
    provenance = {"steering": steering, "rejections": []} | provenance
    return Transcript(id=persona.id, persona=persona.model_dump(), exchanges=exchanges, end_reason=EndReason.USER_DONE, provenance=provenance)


def figure(report, name):
    return next(item for item in report.figures if item.name == name)


@pytest.mark.slow
async def test_a_scripted_simulator_that_follows_its_persona_is_within_the_ranges():
    player = Player(ScriptedChat("user", PACK), 2000, 10**6)
    cast = Cast(player, Player(ScriptedChat("0.9", PACK), 2000, 10**6), "guidance", 3)
    batch = [await rehearse(PACK, persona, cast, persona.id) for persona in sample_batch(PACK, 0, 60, (3, 8))]
    report = measure_fidelity(PACK, batch)
    # the scripted user answers only questions about an episode, and its phrases name no places
    assert set(report.out) <= {"questions_answered", "place_shows"}
    assert figure(report, "flaw_lift").value > 0.4


@pytest.mark.parametrize(
    "edited",
    [None, "gone", 7, {"flaws": 1}, ["x"], [None, {}], [{"flaws": "rambling", "topics": None}], [{"flaws": [1], "topics": [{}], "cooperation": []}], [[{}]]],
)
@pytest.mark.parametrize("name", ["steering", "rejections"])
def test_an_invalid_record_in_a_transcript_is_ignored(name, edited):
    persona = sample_batch(PACK, 0, 1)[0]
    report = measure_fidelity(PACK, [transcript(persona, ["I slept badly.", "It was the noise again."], **{name: edited})])
    assert (report.conversations, report.messages) == (1, 2)
    assert fidelity_markdown(report)


def test_a_simulator_that_writes_the_same_for_all_personas_is_out_of_range():
    text = "I think the thing is just that it is hard and there is a lot of it on most days, is it not?"
    report = measure_fidelity(PACK, [transcript(persona, [text] * 6) for persona in sample_batch(PACK, 0, 40)])
    assert {"flaw_lift", "length_in_style", "question_endings", "topics_per_message", "topics_kept", "distinct_openers"} <= set(report.out)
    assert "**Out of range: " in fidelity_markdown(report)


@pytest.mark.parametrize(
    ("reply", "answered"),
    [
        ("yes, on most evenings, and it helps a bit", 1.0),
        ("Kind of. The boss was there, too.", 1.0),
        ("My evening walk by the river was short, the river was brown.", 1.0),
        ("The bus was late again. I had soup.", 0.0),
    ],
)
def test_an_answer_is_recognised_by_an_answering_word_or_the_questions_own_words(reply, answered):
    persona = sample_batch(PACK, 0, 1)[0]
    question = "Good that you went. Did you manage the evening walk along the river?"
    report = measure_fidelity(PACK, [transcript(persona, ["I went out on Sunday.", reply], [question, "I see."])])
    assert (figure(report, "questions_answered").value, figure(report, "questions_answered").of) == (answered, 1)


@pytest.mark.parametrize("reply", ["Ja, meistens am Abend, und es hilft ein wenig.", "嗯，大多数晚上都是这样。"])
def test_direct_answers_are_measured_only_in_english(reply):
    question = "How are your evenings now?"
    report = measure_fidelity(PACK, [transcript(sample_batch(PACK, 0, 1)[0], [reply] * 4, [question] * 4)])
    assert (figure(report, "questions_answered").of, figure(report, "episode_answered").of) == (0, 0)


def test_a_simulator_that_ignores_its_cooperation_level_is_out_of_range():
    answer = "Perhaps the evening walks along the river could come before the supper."
    batch = sample_batch(PACK, 0, 40, (8, 8))

    def said(persona, plays):
        kinds = [steer(PACK, persona, number, 3).cooperation for number in range(1, 9)]
        return [f"{number}: the evening walks were short" if kind == "engage" or not plays else f"{number}: bus again" for number, kind in enumerate(kinds)]

    for plays, lift in ((True, 1.0), (False, 0.0)):
        report = measure_fidelity(PACK, [transcript(persona, said(persona, plays), [answer] * 8) for persona in batch])
        assert figure(report, "cooperation_lift").value == lift
        assert ("cooperation_lift" in report.out) == (not plays)


def test_personas_without_local_details_are_out_of_range():
    batch = sample_batch(PACK, 0, 30)
    homes = {country.name: country for country in PACK.life.countries.values()}
    local = [transcript(persona, [f"So much for the {homes[persona.life['place'].rpartition(', ')[2]].words[0]} today."]) for persona in batch]
    anywhere = [transcript(persona, ["So much for the weather today."]) for persona in batch]
    assert figure(measure_fidelity(PACK, local), "place_shows").value == 1.0
    assert "place_shows" in measure_fidelity(PACK, anywhere).out


def test_a_topic_mentioned_too_early_is_counted():
    persona = next(item for item in sample_batch(PACK, 0, 200, (12, 12)) if any(topic.arrives > 3 for topic in item.topics))
    late = next(topic for topic in persona.topics if topic.arrives > 3)
    word = PACK.taxonomy.topics[late.category].subtopics[late.subtopic].words[0]
    texts = [f"Day {number}, and the {word} again." if number in (1, late.arrives) else f"Day {number}." for number in range(1, 13)]
    found = figure(measure_fidelity(PACK, [transcript(persona, texts)]), "topics_in_time")
    assert (found.value, found.of) == (0.5, 2)


def test_refusals_are_counted_from_the_record_or_from_the_text():
    persona = sample_batch(PACK, 0, 1)[0]
    recorded = transcript(persona, ["One.", "Two."], rejections=[{"fault": "meta"}])
    report = measure_fidelity(PACK, [recorded])
    assert (dict(report.refused), figure(report, "messages_refused").value) == ({"meta": 1}, 1 / 5)
    foreign = recorded.model_copy(update={"provenance": {}, "exchanges": [Exchange(exchange_number=1, user="<think>hm</think> ok", assistant="Fine.")]})
    assert dict(measure_fidelity(PACK, [foreign]).refused) == {"leaked_reasoning": 1}


def test_the_forerunners_transcripts_can_be_measured(tmp_path):
    persona = {"name": "A", "writing_style": "text-speak", "flaw_patterns": [{"name": "black_and_white_thinking"}]}
    pairs = [{"user": "it's always ruined, nobody ever stays", "assistant": "That hurts."}] * 3
    (tmp_path / "t.json").write_text(json.dumps({"id": "t", "persona": persona, "exchanges": pairs}), encoding="utf-8")
    report = measure_fidelity(PACK, [read_transcript(tmp_path / "t.json")])
    assert [(style.name, len(style.lengths)) for style in report.styles] == [("text_speak", 3)]
    assert [(flaw.name, flaw.due, flaw.shown) for flaw in report.flaws] == [("black_and_white_thinking", 3, 3)]
    assert figure(report, "topics_kept").value is None


@pytest.mark.parametrize(
    "odd", [None, 7, "x", ["x"], [[]], {"name": "x"}, [{"name": 3}, {"name": ["x"]}, {}, None], {"writing_style": {}}, {"writing_style": 5}]
)
@pytest.mark.parametrize("field", ["flaws", "flaw_patterns", "dimensions", "writing_style", "topics", "trajectory", "seed"])
def test_an_imported_persona_with_invalid_fields_is_measured(field, odd):
    made = Transcript(id="t", persona={field: odd}, exchanges=[Exchange(exchange_number=1, user="I slept badly.", assistant="Why?")])
    assert fidelity_markdown(measure_fidelity(PACK, [made]))


def test_a_message_of_20_000_digits_is_read_at_once():
    began = time.process_time()
    assert own_words("7" * 20_000 + " is the number") == "7" * 20_000 + " is the number"
    assert time.process_time() - began < 1
    assert not own_words("7, 8.5 | -9").strip()
