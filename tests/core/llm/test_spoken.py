"""Streamed model output cannot control the terminal, and thinking is not shown."""

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.llm.spoken import spoken
from core.terminal import printable

HOSTILE = [
    ("\x1b[2J\x1b[1;31mred\x1b[0m", "red"),
    ("\x1b]0;a new title\x07after", "after"),
    ("\x1b]52;c;ZXZpbA==\x1b\\after", "after"),
    ("\x1b]8;;http://evil.example\x1b\\click\x1b]8;;\x1b\\", "click"),
    ("\x1bP1$r\x1b\\after", "after"),
    ("\x9b31mred", "red"),
    ("one\rtwo\x08\x08\x08three\x07", "onetwothree"),
    ("a\x1b(0b\x1bc", "ab"),
    ("left \u202eright", "left right"),
    ("half \ud83d", "half "),
    ("tab\tand\nline stay, and so do ä and 👩‍💻", "tab\tand\nline stay, and so do ä and 👩‍💻"),
    ("an end that opens \x1b]0;and never closes", "an end that opens ]0;and never closes"),
]
THINKING = [
    ("<think>secret</think>Hello.", "Hello."),
    ("<think>\n\n</think>\n\nHello.", "Hello."),
    ("One <think>secret</think>and two.", "One and two."),
    ("<think>never ended", ""),
    ("5 < 6 and <thing> stays", "5 < 6 and <thing> stays"),
    ("It ends with <thi", "It ends with <thi"),
]


def shown(pieces):
    async def collect():
        async def given_pieces():
            for piece in pieces:
                yield piece

        return "".join([text async for text in spoken(given_pieces())])

    return asyncio.run(collect())


@pytest.mark.parametrize(("text", "wanted"), HOSTILE + THINKING)
def test_the_shown_text_does_not_depend_on_how_the_stream_is_split(text, wanted):
    assert shown([text]) == wanted
    assert shown(text) == wanted
    for cut in range(1, len(text)):
        assert shown([text[:cut], text[cut:]]) == wanted, cut


@given(st.lists(st.text(st.characters(codec=None, categories=["Cc", "Lu", "Po", "Sm", "Ps"]) | st.sampled_from("\x1b[];mPc<>/think"), max_size=12), max_size=8))
def test_no_control_character_of_a_model_is_left(pieces):
    found = shown(pieces)
    assert not [letter for letter in found if (ord(letter) < 32 and letter not in "\n\t") or 127 <= ord(letter) < 160]
    assert printable(found) == found
