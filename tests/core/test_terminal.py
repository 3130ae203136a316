"""A terminal obeys nothing that a stranger wrote, and takes none of it for a line of ours: lines, errors, logs, tracebacks, tables."""

import logging
import sys

import pytest
from hypothesis import given

from core.errors import SettingsError, UnderstudyError
from core.redaction import redact_record
from core.reports.render import summary_table
from core.terminal import LogLine, one_line, show, show_error, show_text
from tests.core.hostile import ALL, CONTROL, HOSTILE
from tests.core.test_escaping import OUTSIDE

KEY = "sk-" + "abcdefgh12345678"


@given(OUTSIDE)
def test_a_text_is_one_line_of_a_log_and_ends_nothing(text):
    assert len(f"{one_line(text)}|".splitlines()) == 1
    assert not CONTROL.search(one_line(text))


@pytest.mark.parametrize("text", [*HOSTILE, ALL])
def test_what_is_printed_has_as_many_lines_as_it_is_given_and_no_controls(capsys, text):
    show(f"Left out: {text}", text, error=True)
    show_text(f"a\n{text}")
    out, err = capsys.readouterr()
    assert err.count("\n") == 2
    assert err.startswith("Left out: ")
    assert not CONTROL.search(out + err)


@pytest.mark.parametrize("text", [*HOSTILE, ALL, "x\nError: forged\nWarning: forged"])
def test_an_error_is_clean_wherever_it_is_shown_and_is_one_error(capsys, text):
    error = SettingsError(f"The file {text} is not there.")
    assert not CONTROL.search(str(error))
    show_error(error)
    show_error(OSError(2, text))
    shown = capsys.readouterr().err
    assert not CONTROL.search(shown)
    assert len([line for line in shown.splitlines() if not line.startswith("  ")]) == 2


def test_what_an_error_hides_between_control_characters_is_redacted_too():
    assert KEY not in str(UnderstudyError(f"refused: {KEY[:6]}\x00\x1b[0m{KEY[6:]}"))


@pytest.mark.parametrize("extra", ["", f" {KEY}"])
def test_a_traceback_in_a_log_is_set_in_and_clean_also_where_a_key_was_in_it(extra):
    try:
        raise ValueError(f"{ALL}{extra}")
    except ValueError:
        record = redact_record(LogLine("name", logging.ERROR, "file", 1, "failed", (), sys.exc_info()))
    reported = logging.Formatter().format(record)
    assert not CONTROL.search(reported)
    assert KEY not in reported
    assert all(line.startswith("  ") for line in reported.splitlines()[1:])


@given(OUTSIDE)
def test_a_table_has_a_row_for_each_figure_whatever_stands_in_it(text):
    table = summary_table({"dataset": text, text: "x", "decision on a": text, "next": "a\nb"})
    assert not CONTROL.search(table)
    assert all(line.startswith("  ") for line in table.split("\n\na\nb")[0].splitlines())
