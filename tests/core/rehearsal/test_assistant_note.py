"""The assistant's note: sent last, never stored, reproducible, absent from evaluations, and derived from the conversation."""

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
def test_only_the_demonstrating_model_receives_notes(guidance, evaluated, noted):
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
def test_the_suggested_length_follows_the_message_with_a_minimum_of_fifteen_words(words, low, high, most):
    found = note([], " ".join(["word"] * words))
    assert found["length"] == {"low": low, "high": high, "most": most}
    assert f"Yours: {low} to {high}, never more than {most}" in rendered(found)


def test_an_episode_has_no_length_limit():
    found = note([], "A word.", free_length=True)
    assert found["length"] is None
    assert "Length is free" in rendered(found)


def test_the_note_lists_beginnings_and_ends_of_the_last_answers():
    found = note([("m", f"Opening number {n}, quite so. Then the end {n}{'?' if n == 5 else '.'}") for n in range(1, 6)])
    assert found["openers"][-1] == "Opening number 5, quite so. Then…"
    assert len(found["openers"]) == 4
    assert [ending["question"] for ending in found["endings"]] == [False, False, True]
    assert "this time without a question at the end" in rendered(found)


def test_a_used_tic_is_discouraged_and_allowed_again_later():
    used = [("m", "What if the list could wait?")]
    assert "What if the list could wait?" in note(used)["used_up"]
    assert note([("m", "Good.")])["used_up"] == []
    assert "What if the list could wait?" not in note([*used, *[("m", f"Good {n}.") for n in range(30)]])["used_up"]


def test_a_discouraged_tic_is_quoted_from_the_assistants_own_answer():
    said = note([("m", "The letter isn't a verdict, it's a date.")])["used_up"]
    assert [text for text in said if "verdict" in text]


def test_a_repeated_phrase_is_named_unless_it_is_ordinary_english():
    said = note([("m", f"Number {n}: a lot of rain, and the kettle sings.") for n in range(3)])["used_up"]
    assert "a lot of" not in said
    assert [phrase for phrase in said if "kettle" in phrase]


def test_text_in_another_language_is_not_a_repeated_phrase_for_that_reason():
    german = "In der Nacht ist alles schwerer, und das darf so sein. Was hilft dir in der Nacht?"
    assert note([("Ich bin müde.", german)] * 4)["used_up"] == []


def test_an_excerpt_is_short_in_scripts_without_spaces():
    answer = "听起来你今天真的很辛苦" * 40
    found = note([("我很累。", answer)] * 2)
    assert all(len(text) < 100 for text in [*found["openers"], *(ending["text"] for ending in found["endings"])])


def test_a_third_answer_of_one_kind_in_a_row_is_discouraged():
    label = PACK.help.kinds["behaviour"].label
    twice = [("m", "You could try a short walk."), ("m", "You could write one line.")]
    found = note(twice)["help"]
    assert (found["lately"], found["again"]) == ([label, label], label)
    assert f"Twice in a row now: {label}. Not a third time" in rendered(note(twice))
    assert note([*twice, ("m", "I am here.")])["help"]["again"] == ""


def test_each_kind_of_help_is_recognised_in_an_example():
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


def test_a_suggestion_is_followed_up_until_the_user_reports_on_it():
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
def test_a_plain_report_counts_as_one_on_the_suggestion(suggestion, report):
    (found,) = note([("It drags.", suggestion)], report)["suggestions"]
    assert found["came_back"]


@pytest.mark.parametrize("message", ["Told nobody.", "She said Lani was late.", "Rain. Slept badly."])
def test_unrelated_news_is_no_report_on_a_suggestion(message):
    (found,) = note([("It drags.", "You could tell Lani one thing.")], message)["suggestions"]
    assert found["came_back"] is None


def test_emergency_numbers_may_be_repeated():
    assert PACK.services
    line = f"If it gets close, ring {PACK.services.countries['ireland']}."
    assert not [phrase for phrase in note([("Tired.", line)] * 5)["used_up"] if phrase in line.lower() or any(letter.isdigit() for letter in phrase)]


def test_an_old_suggestion_is_no_longer_followed_up():
    offer = "Tomorrow after breakfast you could open one of the letters for two minutes."
    later = [("The bus was late.", "Late again, then.")] * 4
    assert note([("Letters everywhere.", offer), *later[:2]])["suggestions"]
    assert not note([("Letters everywhere.", offer), *later])["suggestions"]
