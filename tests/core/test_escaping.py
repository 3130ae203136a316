"""Foreign text is shown as text on a terminal, in logs, Markdown, metadata and spreadsheets."""

import logging

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from core.escaping import code, fenced, front_matter, plain, prose, quoted, spreadsheet_cell
from core.terminal import LogLine, one_line, printable
from tests.core.hostile import ALL, CONTROL, HOSTILE, active

OUTSIDE = st.one_of(st.sampled_from([*HOSTILE, ALL]), st.lists(st.sampled_from(HOSTILE), max_size=3).map(" ".join), st.text(max_size=60))


@given(OUTSIDE)
def test_no_text_is_active_markup_in_any_place_of_a_markdown_page(text):
    for shown in (plain(text), code(text), prose(text), quoted(text), fenced(text)):
        assert not active(shown)
    assert not active(f"| a | b |\n|---|---|\n| {plain(text)} | {code(text)} |\n")
    assert "\n" not in plain(text)


@given(OUTSIDE)
def test_no_text_breaks_a_log_line_or_controls_a_terminal(text):
    record = LogLine("name", logging.INFO, "file", 1, "Left out %s", (text,), None)
    for shown in (record.getMessage(), one_line(text)):
        assert len(shown.splitlines()) <= 1
        assert not CONTROL.search(shown)
    assert not CONTROL.search(printable(text))


@pytest.mark.parametrize("text", [*HOSTILE, "no", "on", "y", "null", "~", "1e3", "0o17", "1:30", "2026-01-01", ".inf", "=", "<<", "x", "a: b", "- a", ""])
def test_metadata_keeps_every_text_unchanged(text):
    head = front_matter({"license": text, "tags": [text]})
    assert yaml.safe_load(head.removeprefix("---\n").removesuffix("---\n")) == {"license": text, "tags": [text]}
    assert head.count("\n---\n") == 1
    assert all(word in ("license: x", "- x") or '"' in word for word in head.splitlines()[1:-1] if word != "tags:")


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@x", "=cmd|' /C calc'!A0", "\t=1", "\r=1"])
def test_no_table_cell_is_a_formula(text):
    assert spreadsheet_cell(text).startswith("'")
