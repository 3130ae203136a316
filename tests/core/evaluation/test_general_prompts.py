"""General prompts accept right answers in their usual forms and reject wrong ones, echoes and hedges."""

from collections import Counter

import pytest

from core.errors import PackError
from core.evaluation.general_prompts import general_questions, load_general_prompts, marked
from core.evaluation.suites import ModelAnswer
from core.settings.pipeline import load_settings

PROMPTS = load_general_prompts()
NUMBERS = load_settings().evaluation
NO_ANSWERS = (
    "",
    "I don't know.",
    "I'm sorry, but I can't help with that.",
    "Sure! Here is the answer:",
    "Yes or no",
    "That sounds like a lot to carry. How long have you been feeling this way?",
)


def test_the_general_prompts_are_about_a_hundred_of_all_kinds_without_duplicates():
    assert len(PROMPTS) >= 100
    kinds = Counter(item.kind for item in PROMPTS)
    assert len(kinds) >= 12
    assert max(kinds.values()) - min(kinds.values()) <= 1
    assert len({item.prompt for item in PROMPTS}) == len(PROMPTS)


@pytest.mark.parametrize("asked", PROMPTS, ids=lambda item: item.name)
def test_each_general_prompt_accepts_its_right_answers_and_rejects_wrong_ones(asked):
    assert [answer for answer in asked.right if not asked.is_right(answer)] == []
    assert [answer for answer in asked.wrong if asked.is_right(answer)] == []


@pytest.mark.parametrize("asked", PROMPTS, ids=lambda item: item.name)
def test_an_echo_a_hedge_and_an_evasion_are_wrong_answers(asked):
    echoes = (asked.prompt, f'You asked: "{asked.prompt}"', asked.prompt.partition("?")[0])
    assert [text for text in (*echoes, *NO_ANSWERS) if asked.is_right(text)] == []
    right = asked.right[0]
    hedges = (form.format(*pair) for wrong in asked.wrong for pair in ((right, wrong), (wrong, right)) for form in ("{} or {}", "{}, {}", "Either {} or {}"))
    assert [text for text in hedges if asked.is_right(text)] == []


def test_a_part_of_the_general_prompts_has_every_kind():
    some = general_questions(NUMBERS.model_copy(update={"suite_items": 13}))
    assert len({item.kind for item in some}) == len(some) == 13
    assert general_questions(NUMBERS.model_copy(update={"general_max_tokens": 0})) == ()


def test_an_empty_answer_is_wrong_and_a_failed_call_is_unknown():
    assert marked(PROMPTS[0], ModelAnswer(answer="")).right is False
    assert marked(PROMPTS[0], ModelAnswer(answer=None, lost="no connection")).right is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("- {name: a, kind: k, prompt: p, expected: e, pattern: '(', right: [x], wrong: [z]}", "not a regular expression"),
        (2 * "- {name: a, kind: k, prompt: p, expected: e, pattern: x, right: [x], wrong: [z]}\n", "called 'a'"),
        ("- {name: a, kind: k, prompt: p, expected: e, right: [x], wrong: [z]}", "pattern"),
        ("{name: a}", "list"),
    ],
)
def test_an_invalid_suite_file_is_refused_with_the_reason(tmp_path, text, said):
    path = tmp_path / "general.yaml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(PackError, match=r"general\.yaml") as caught:
        load_general_prompts(path)
    assert said in str(caught.value)
