"""The assistant's note: sent last, never kept, the same after a kill, absent from evaluations; and what it says comes from the conversation."""

import pytest

from core.packs.pack import load_pack
from core.records import Exchange, ModelChoice
from core.rehearsal.assistant_note import note_inputs
from core.rehearsal.conversation import rehearse
from core.rehearsal.personas import sample_persona
from core.rehearsal.plan import RehearsalPlan
from core.rehearsal.turn_log import TurnLog
from core.rehearsal.turns import Cast, Player
from core.storage.store import Store
from tests.core.rehearsal.test_conversation import Killed, Mortal

PACK = load_pack("therapeutic-coaching")
MARK = "[Note for your next answer only."


def exchanges(*pairs):
    return [Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(pairs, 1)]


def note(pairs, message="A word.", **more):
    return note_inputs(PACK, exchanges(*pairs), message, **more)


def rendered(inputs):
    assert PACK.note is not None
    return PACK.note.render(**inputs)


async def play(assistant, log=None, noted=True):
    cast = Cast(Player(Mortal("u"), 100, 10**6), Player(assistant, 100, 10**6), "guidance", 3, noted=noted)
    return await rehearse(PACK, sample_persona(PACK, 5, (4, 4)), cast, "name", log=log)


async def test_the_note_is_the_last_message_and_is_sent_once():
    assistant = Mortal("a")
    found = await play(assistant)
    for number, request in enumerate(assistant.requests, 1):
        assert request.messages[-1].content.startswith(MARK)
        assert (request.messages[-2].content, request.volatile) == (f"u{number}", 1)
        assert not any(MARK in message.content for message in request.messages[:-1])
    assert MARK not in found.model_dump_json()


async def test_a_resumed_conversation_has_the_same_notes(tmp_path):
    whole, first, second = Mortal("a"), Mortal("a", 2), Mortal("a")
    await play(whole)
    store = Store(str(tmp_path))
    with pytest.raises(Killed):
        await play(first, TurnLog(store, "name"))
    await play(second, TurnLog(store, "name"))
    assert [request.messages[-1] for request in (*first.requests, *second.requests)] == [request.messages[-1] for request in whole.requests]


async def test_without_a_note_the_persons_message_is_last():
    assistant = Mortal("a")
    await play(assistant, noted=False)
    assert [(request.messages[-1].content, request.volatile) for request in assistant.requests[:2]] == [("u1", 0), ("u2", 0)]


@pytest.mark.parametrize(("guidance", "evaluated", "noted"), [("assistant", False, True), ("system", True, False)])
def test_only_the_model_that_demonstrates_the_part_is_noted(guidance, evaluated, noted):
    choice = ModelChoice(reference="scripted/user")
    plan = RehearsalPlan(
        domain=PACK.name,
        pack_hash=PACK.hash,
        persona=sample_persona(PACK, 5),
        trial=0,
        user_simulator=choice,
        assistant=choice,
        guidance=guidance,
        user_tokens=(1, 2),
        assistant_tokens=(1, 2),
        minimum=3,
        guards=[],
        evaluated=evaluated,
        folder="transcripts",
    )
    assert plan.cast(Mortal("u"), Mortal("a")).noted is noted


@pytest.mark.parametrize(("words", "low", "high", "most"), [(0, 15, 22, 30), (3, 15, 22, 30), (15, 15, 22, 30), (100, 100, 150, 200)])
def test_the_length_follows_the_message_and_a_short_one_counts_as_fifteen_words(words, low, high, most):
    found = note([], " ".join(["word"] * words))
    assert found["length"] == {"low": low, "high": high, "most": most}
    assert f"Yours: {low} to {high}, never more than {most}" in rendered(found)


def test_in_an_episode_length_is_free():
    found = note([], "A word.", free_length=True)
    assert found["length"] is None
    assert "Length is free" in rendered(found)


def test_beginnings_and_ends_of_the_last_answers_are_named():
    found = note([("m", f"Opening number {n}, quite so. Then the end {n}{'?' if n == 5 else '.'}") for n in range(1, 6)])
    assert found["openers"][-1] == "Opening number 5, quite so. Then…"
    assert len(found["openers"]) == 4
    assert [ending["question"] for ending in found["endings"]] == [False, False, True]
    assert "this time without a question at the end" in rendered(found)


def test_figures_are_used_up_after_a_use_and_free_again_later():
    used = [("m", "What if the list could wait?")]
    assert "What if the list could wait?" in note(used)["used_up"]
    assert note([("m", "Good.")])["used_up"] == []
    assert "What if the list could wait?" not in note([*used, *[("m", f"Good {n}.") for n in range(30)]])["used_up"]


def test_a_used_up_figure_is_shown_in_the_assistants_own_words():
    said = note([("m", "The letter isn't a verdict, it's a date.")])["used_up"]
    assert [text for text in said if "verdict" in text]


def test_a_phrase_of_its_own_is_named_and_ordinary_english_is_not():
    said = note([("m", f"Number {n}: a lot of rain, and the kettle sings.") for n in range(3)])["used_up"]
    assert "a lot of" not in said
    assert [phrase for phrase in said if "kettle" in phrase]


def test_of_another_language_nothing_is_called_a_phrase_for_being_no_english():
    german = "In der Nacht ist alles schwerer, und das darf so sein. Was hilft dir in der Nacht?"
    assert note([("Ich bin müde.", german)] * 4)["used_up"] == []


def test_an_excerpt_is_short_where_no_spaces_stand_between_words():
    answer = "听起来你今天真的很辛苦" * 40
    found = note([("我很累。", answer)] * 2)
    assert all(len(text) < 100 for text in [*found["openers"], *(ending["text"] for ending in found["endings"])])


def test_the_third_of_a_kind_in_a_row_is_discouraged_by_name():
    label = PACK.help.kinds["behaviour"].label
    twice = [("m", "You could try a short walk."), ("m", "You could write one line.")]
    found = note(twice)["help"]
    assert (found["lately"], found["again"]) == ([label, label], label)
    assert f"Twice in a row now: {label}. Not a third time" in rendered(note(twice))
    assert note([*twice, ("m", "I am here.")])["help"]["again"] == ""


def test_every_kind_of_help_has_a_sentence_that_shows_it():
    shown = {
        "scale": "Where is it today, on a scale from one to ten?",
        "exceptions": "Was there a day when it was a little better?",
        "values": "What matters to you in that?",
        "acceptance": "You can let it be there.",
        "plan": "You could say: not today.",
        "behaviour": "You could try a short walk.",
        "reframing": "What would you tell a friend in that place?",
        "company": "I am here.",
        "question": "When did he ring?",
        "reflection": "Perhaps the quiet was the hard part.",
        "listening": "A long Tuesday.",
    }
    assert {name: PACK.help.kind_of(text) for name, text in shown.items()} == {name: name for name in shown}
    assert list(shown) == list(PACK.help.kinds)


def test_a_suggestion_is_followed_until_something_comes_back():
    made = ("The letters pile up.", "You could open one envelope after breakfast.")
    (open_one,) = note([made], "Long day at work.")["suggestions"]
    assert (open_one["exchange_number"], open_one["came_back"], open_one["asked"]) == (1, None, False)
    assert "Nothing that takes it up was found, and you have not asked" in rendered(note([made], "Long day at work."))
    (back,) = note([made], "Fine. I did the envelope after breakfast, it was only the gas.")["suggestions"]
    assert back["came_back"] == {"exchange_number": 2, "text": "I did the envelope after breakfast, it was only the gas."}
    (tried,) = note([made], "I tried the envelope thing. Not for me.")["suggestions"]
    assert tried["came_back"] == {"exchange_number": 2, "text": "I tried the envelope thing."}
    (asked,) = note([made, ("Long day.", "And the envelope at breakfast, did it happen?")], "Rain again.")["suggestions"]
    assert (asked["came_back"], asked["asked"]) == (None, True)


@pytest.mark.parametrize(
    ("suggestion", "report"),
    [
        ("You could tell Lani one thing.", "Told Lani about the fern."),
        ("Somebody is there at eight. You could ring the clinic.", "Rang at eight. Closed."),
        ("You could do one page, fifteen minutes.", "did the page, all fifteen minutes"),
    ],
)
def test_a_plain_report_comes_back_to_a_suggestion(suggestion, report):
    (found,) = note([("It drags.", suggestion)], report)["suggestions"]
    assert found["came_back"]


@pytest.mark.parametrize("message", ["Told nobody.", "She said Lani was late.", "Rain. Slept badly."])
def test_news_that_has_nothing_of_a_suggestion_is_no_report_of_it(message):
    (found,) = note([("It drags.", "You could tell Lani one thing.")], message)["suggestions"]
    assert found["came_back"] is None


def test_whom_to_call_in_danger_may_be_said_as_often_as_needed():
    assert PACK.services
    line = f"If it gets close, ring {PACK.services.countries['ireland']}."
    assert not [phrase for phrase in note([("Tired.", line)] * 5)["used_up"] if phrase in line.lower() or any(letter.isdigit() for letter in phrase)]


def test_a_suggestion_of_long_ago_rests():
    offer = "Tomorrow after breakfast you could open one of the letters for two minutes."
    later = [("The bus was late.", "Late again, then.")] * 4
    assert note([("Letters everywhere.", offer), *later[:2]])["suggestions"]
    assert not note([("Letters everywhere.", offer), *later])["suggestions"]
