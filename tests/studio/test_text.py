"""Foreign text on a page is shown and never executed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.views.text import quotes_of, rendered
from tests.studio.reading import read

HARMLESS = {
    "p",
    "br",
    "em",
    "strong",
    "s",
    "code",
    "pre",
    "blockquote",
    "ul",
    "ol",
    "li",
    "hr",
    "a",
    "mark",
    "div",
    "table",
    "thead",
    "tbody",
    "tr",
    "th",
    "td",
}
ATTRIBUTES = {"a": {"href", "title", "target", "rel"}, "p": {"class"}, "div": {"class"}, "code": {"class"}, "ol": {"start"}, "th": {"style"}, "td": {"style"}}
PIECES = [
    "<script>",
    "<img src=x onerror=y>",
    "](javascript:x)",
    "[a",
    "](http://x.example)",
    "![",
    "<!--",
    "**",
    "`",
    "\n",
    "# ",
    "| a |",
    "|---|",
    "&lt;",
    '"',
    "> ",
    "1. ",
]


@given(st.lists(st.one_of(st.sampled_from(PIECES), st.text(max_size=8)), max_size=30).map("".join), st.lists(st.text(max_size=6), max_size=3))
def test_no_text_becomes_active_html(text, marks):
    for tag, attributes in read(str(rendered(text, marks))).elements:
        assert tag in HARMLESS, (tag, attributes)
        assert set(attributes) <= ATTRIBUTES.get(tag, set()), (tag, attributes)
        if tag == "a":
            assert attributes["href"].lower().startswith(("http://", "https://"))
            assert {"noopener", "noreferrer"} <= set(attributes["rel"].split())


@pytest.mark.parametrize(
    "address", ["javascript:alert(1)", "data:text/html,x", "//evil.example", "/conversations/x", "file:///etc/passwd", "vbscript:x", " JaVaScRiPt:x"]
)
def test_a_link_to_anything_but_a_web_page_is_shown_as_text(address):
    page = read(str(rendered(f"See [this]({address}) now.")))
    assert page.links == []
    assert "this" in page.words


def test_markdown_is_rendered_with_single_line_breaks():
    page = read(str(rendered("**Bold**\nand *more*\n\n- one\n- two\n\n# No heading of the page")))
    assert {"strong", "em", "li", "br"} <= {tag for tag, _ in page.elements}
    assert not {"h1", "h2"} & {tag for tag, _ in page.elements}


def test_characters_that_change_the_text_direction_are_made_visible():
    assert "\u202e" not in rendered("safe \u202etxt.exe")
    assert "\N{REPLACEMENT CHARACTER}" in rendered("safe \u202etxt.exe")


def test_quoted_passages_are_marked_despite_different_apostrophes_and_blanks():
    page = rendered("I CAN’T  sleep at **night**, & so on <b>", ["can't sleep at", "& so"])
    assert "<mark>CAN’T  sleep at</mark>" in page
    assert "<mark>&amp; so</mark>" in page
    assert "<b>" not in page


def test_quotations_are_extracted_from_a_reason():
    assert quotes_of("The answer says \"you're right to ask me that\" and 'take a breath, then go' in 3.") == [
        "you're right to ask me that",
        "take a breath, then go",
    ]
    assert quotes_of("It isn't there, and that's that. 'No.'") == []


@pytest.mark.parametrize("text", ["[" * 20_000, "*" * 20_000, "`" * 19_999 + "a", "<" * 20_000, "> " * 10_000, "a" * 100_000, "![" * 10_000, "|" * 20_000])
def test_long_and_deeply_nested_text_is_shown_completely(text):
    """A parser with quadratic time would hang here."""
    assert read(str(rendered(text))).elements
