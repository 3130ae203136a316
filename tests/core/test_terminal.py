"""Foreign text cannot control a terminal or imitate our lines, errors, logs, tracebacks and tables."""

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
def test_a_text_in_a_log_is_one_line_without_controls(text):
    assert len(f"{one_line(text)}|".splitlines()) == 1
    assert not CONTROL.search(one_line(text))


@pytest.mark.parametrize("text", [*HOSTILE, ALL])
def test_printed_text_keeps_its_lines_and_has_no_controls(capsys, text):
    show(f"Left out: {text}", text, error=True)
    show_text(f"a\n{text}")
    out, err = capsys.readouterr()
    assert err.count("\n") == 2
    assert err.startswith("Left out: ")
    assert not CONTROL.search(out + err)


@pytest.mark.parametrize("text", [*HOSTILE, ALL, "x\nError: forged\nWarning: forged"])
def test_a_shown_error_has_no_controls_and_cannot_imitate_another(capsys, text):
    error = SettingsError(f"The file {text} is not there.")
    assert not CONTROL.search(str(error))
    show_error(error)
    show_error(OSError(2, text))
    shown = capsys.readouterr().err
    assert not CONTROL.search(shown)
    assert len([line for line in shown.splitlines() if not line.startswith("  ")]) == 2


def test_a_secret_between_control_characters_is_redacted():
    assert KEY not in str(UnderstudyError(f"refused: {KEY[:6]}\x00\x1b[0m{KEY[6:]}"))


@pytest.mark.parametrize("extra", ["", f" {KEY}"])
def test_a_traceback_in_a_log_is_indented_and_has_no_controls_or_keys(extra):
    try:
        raise ValueError(f"{ALL}{extra}")
    except ValueError:
        record = redact_record(LogLine("name", logging.ERROR, "file", 1, "failed", (), sys.exc_info()))
    reported = logging.Formatter().format(record)
    assert not CONTROL.search(reported)
    assert KEY not in reported
    assert all(line.startswith("  ") for line in reported.splitlines()[1:])


@given(OUTSIDE)
def test_a_printed_table_has_one_row_per_figure_for_any_text(text):
    table = summary_table({"dataset": text, text: "x", "decision on a": text, "next": "a\nb"})
    assert not CONTROL.search(table)
    assert all(line.startswith("  ") for line in table.split("\n\na\nb")[0].splitlines())
