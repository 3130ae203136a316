"""Text facts in several languages; facts in unverified scripts are not given to a judge."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.judging.facts import measure
from core.judging.text_facts import ends_with_question, sentences, words
from core.packs.pack import load_pack
from core.records import Exchange

PACKS = [load_pack(name) for name in ("therapeutic-coaching", "coding-mentor")]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("Don't go — it’s **fine**, e-mail me.", 7),
        ("Ich weiß nicht, ob's am Ärger liegt.", 7),
        ("Où est-ce que j’ai mis ça ?", 7),
        ("¿Qué te pasó, Ángel?", 4),
        ("Nie wiem, czy to źle.", 5),
        ("İstanbul'da çok yoruldum.", 3),
        ("Я не знаю, что делать.", 5),
        ("أنا متعب جدًا اليوم", 4),
        ("मैं थक गया हूँ", 4),
        ("안녕하세요 여러분", 2),
        ("caf\u00e9 cafe\u0301", 2),
        ("我今天很累，不知道该怎么办。你觉得我应该先跟他谈谈吗？我昨天没有睡好觉了", 33),
        ("もう疲れたよ。", 6),
        ("I like 寿司 a lot", 6),
    ],
)
def test_words_are_counted_as_people_would(text, count):
    assert len(words(text)) == count


@pytest.mark.parametrize("text", ["it’s fine", "‘It's fine’", "it\u200b's f\u00adine\ufeff", "ｉｔ＇ｓ　ｆｉｎｅ", "**it’s** _fine_ ❤️"])
def test_words_that_look_alike_are_equal(text):
    assert words(text) == ["it's", "fine"]


@given(st.lists(st.text(st.characters(codec="ascii", categories=("Ll", "Nd")), min_size=1, max_size=8), max_size=20))
def test_words_are_separated_by_spaces(parts):
    assert words(", ".join(parts)) == parts


QUESTIONS = [
    "Why?",
    "Why? ",
    "**Why?**",
    "“Why?”",
    "(Why?)",
    "Why?!",
    "Why? 🙂",
    "Why? 👍🏽",
    "Why? ❤️",
    "Why? :)",
    "好吗？",
    "他说：「好吗？」",
    "كيف حالك؟",
    "Τι κάνεις;",
    "Τι κάνεις\u037e",
]


@pytest.mark.parametrize("text", QUESTIONS)
def test_a_final_question_is_recognised_despite_trailing_characters(text):
    assert ends_with_question(text)
    assert not ends_with_question(f"{text} Right.")


@pytest.mark.parametrize("text", ["", " ", "Fine.", "Fine!", "So be it;", "好。", "🙂", "?a"])
def test_text_without_a_final_question_is_recognised(text):
    assert not ends_with_question(text)


def test_sentences_end_as_their_script_requires():
    assert sentences("Hello there. How? Fine!\nYes") == ["Hello there.", "How?", "Fine!", "Yes"]
    assert sentences("你好。你好吗？他说「是。」吧") == ["你好。", "你好吗？", "他说「是。」吧"]
    assert sentences("كيف حالك؟ بخير") == ["كيف حالك؟", "بخير"]


def said(user, assistant):
    return [Exchange(exchange_number=1, user=user, assistant=assistant)]


@pytest.mark.parametrize("pack", PACKS, ids=lambda pack: pack.name)
@pytest.mark.parametrize(
    ("user", "assistant", "shown"),
    [
        ("I am tired.", "That sounds hard. What happened?", True),
        ("Ich bin müde.", "Das klingt schwer. Was war los?", True),
        ("I wrote 寿司 on the menu of our little place, and nobody can read it.", "Then put the English name beside it.", True),
        ("我今天很累", "你怎么了？", False),
        ("I am tired.", "你怎么了？", False),
        ("أنا متعب", "ماذا حدث؟", False),
    ],
)
def test_no_facts_are_given_for_scripts_without_verified_rules(pack, user, assistant, shown):
    exchanges = said(user, assistant)
    facts = measure(exchanges, pack.tics)
    assert facts["measured"] is shown
    prompt = pack.prompts["assessor"].render(exchanges=[item.model_dump() for item in exchanges], facts=facts)
    assert ("# Measured facts" in prompt) is shown
    assert ("counted by a programme" in prompt) is shown
    assert "# How to judge" in prompt
