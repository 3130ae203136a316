"""A model's thinking is not part of its reply."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.thinking import without_thinking


@pytest.mark.parametrize(
    ("text", "cut", "said", "thought"),
    [
        ("Hello.", False, "Hello.", False),
        ("<think>secret</think>Hello.", False, "Hello.", True),
        ("<think>\n\n</think>\n\nHello.", False, "Hello.", True),
        ("One. <think>secret</think>Two.", False, "One. Two.", True),
        ("secret\n</think>\n\nHello.", False, "Hello.", True),  # the template wrote the beginning
        ("secret\n</think>", True, "", True),
        ("<think>never ended", True, "", True),
        ("<think>never ended", False, "", True),
        ("Hello. <think>and more", True, "Hello.", True),
        ("Write <think> before it.", False, "Write <think> before it.", False),
        ("Its end is </think>, on one line.", False, "Its end is </think>, on one line.", False),
    ],
)
def test_thinking_is_separated_and_a_quoted_mark_is_text(text, cut, said, thought):
    assert without_thinking(text, cut) == (said, thought)


def test_repeated_thinking_marks_are_read_in_linear_time():
    marks = "<think>" * 500_000  # from each of them to the end would take hours
    assert without_thinking(f"Hello. {marks}") == (f"Hello. {marks}", False)
    assert without_thinking(f"{marks}secret</think>Hello.") == ("Hello.", True)


@given(st.text(st.sampled_from("ab \n<>"), max_size=30), st.text(st.sampled_from("abc .\n"), max_size=20), st.booleans())
def test_a_reply_after_thinking_equals_the_reply_alone(secret, reply, cut):
    assert without_thinking(f"<think>{secret}</think>{reply}", cut) == (reply.strip(), True)


@given(st.text(st.sampled_from("ab \n"), max_size=30), st.booleans())
def test_a_text_without_thinking_marks_is_unchanged(text, cut):
    assert without_thinking(text, cut) == (text, False)
