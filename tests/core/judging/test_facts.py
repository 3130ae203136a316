"""Measured facts: exceeded tics, copied and repeated runs, and the judge's view of them."""

import pytest

from core.judging.echo import RUN, echoes, summarised
from core.judging.facts import measure
from core.judging.ordinary_english import ordinary_english
from core.packs.pack import load_pack
from core.records import Exchange

SHIPPED = ("therapeutic-coaching", "coding-mentor")
PACK = load_pack(SHIPPED[0])


def exchanges(*pairs):
    return [Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(pairs, 1)]


def test_only_runs_from_the_users_messages_so_far_count_as_copied():
    said = exchanges(("one two three four five", "nine ten six seven eight one"), ("six seven eight nine", "one two three four and then"))
    first, second = echoes(said)
    assert (first.copied, first.longest) == (0, "")
    assert (second.runs, second.copied, second.longest) == (3, 1, "one two three four")


def test_the_longest_run_is_within_one_message_and_repetitions_are_of_earlier_answers():
    said = exchanges(("a b c d", "z"), ("c d e f g", "a b c d e f g"), ("h", "a b c d e f g"))
    found = echoes(said)
    assert [echo.longest for echo in found] == ["", "c d e f g", "c d e f g"]
    assert [echo.repeated for echo in found] == [0, 0, 4]
    assert summarised(found).longest_words == 5
    assert summarised(found).repeated == 4 / 8


def test_answers_shorter_than_a_run_have_no_share():
    found = summarised(echoes(exchanges(("a b c d", " ".join("abc")))))
    assert (found.copied, found.repeated, found.longest) == (None, None, "")
    assert RUN == 4


def test_judges_receive_exceeded_tics_with_the_exchanges():
    said = exchanges(*[("m", "What if it rains?")] * 3, ("m", "I hear you."), ("m", "Perhaps we'll know."))
    facts = measure(said, PACK.tics)
    assert {item["name"]: item["exchanges"] for item in facts["tics"]} == {"what_if": [1, 2, 3], "i_hear": [4]}


@pytest.mark.parametrize("domain", SHIPPED)
def test_the_judges_prompt_contains_the_measured_facts(domain):
    pack = load_pack(domain)
    figure = next(figure for figure in pack.tics.figures if figure.answers == 0)
    said = exchanges(("the red kettle broke on monday", f"{figure.example} So the red kettle broke on monday."))
    text = pack.prompts["assessor"].render(exchanges=[item.model_dump() for item in said], facts=measure(said, pack.tics))
    assert f"like “{figure.example}” in 1 of 1 answers (exchange 1)." in text
    assert "The longest copied run has 6 words (exchange 1): “the red kettle broke on monday”." in text
    plain = exchanges(("the red kettle broke", "Rain fell."))
    assert "used more often: none." in pack.prompts["assessor"].render(exchanges=[item.model_dump() for item in plain], facts=measure(plain, pack.tics))


def test_the_reference_of_ordinary_english_has_everyday_phrases_and_no_tics():
    ordinary = ordinary_english()
    assert ordinary.total > 4000
    for phrase in ("a lot of", "you don't have", "do you want", "at the end", "if you want"):
        assert ordinary.grams[phrase], phrase
    for phrase in ("that's not nothing", "your nervous system", "sit with that", "here's the thing", "part of you"):
        assert not ordinary.grams[phrase], phrase
    assert ordinary.expected("a lot of") > ordinary.expected("that's not nothing") > 0
