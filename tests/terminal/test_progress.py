"""The progress of a long command: one line on a terminal, log lines elsewhere, foreign text escaped."""

import logging
import sys
from io import StringIO

import pytest

from core.terminal import figures, moving_line, show
from flows.terminal.logs import OURS, ForPeople


class Terminal(StringIO):
    def isatty(self):
        return True


def at_terminal(monkeypatch):
    shown = Terminal()
    monkeypatch.setattr(sys, "stderr", shown)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "120")
    return shown


def record(text, level=logging.INFO, path=f"{OURS[1]}/assessment.py"):
    return logging.LogRecord("prefect.flow_runs", level, path, 1, text, (), None)


def test_the_progress_line_shows_counts_and_money_and_is_removed_at_the_end(monkeypatch):
    terminal = at_terminal(monkeypatch)
    line = moving_line()
    with line.shown():
        line.spent = lambda: 0.5
        assert line.move("Judged", 3, 10, "transcripts")
        show("A warning.", error=True)
        assert line.move("Judged", 4, 10, "transcripts")
    text = terminal.getvalue()
    assert "Judged" in text
    assert "3/10 transcripts · 0.50 USD" in text
    assert "A warning.\n" in text
    assert text.rindex("\x1b[2K") > text.rindex("transcripts")  # the line is erased at the end
    assert not line.move("Judged", 5, 10, "transcripts")
    assert line.spent() == 0


def test_after_a_count_the_line_shows_each_further_sentence_without_the_count(monkeypatch):
    terminal = at_terminal(monkeypatch)
    line = moving_line()
    with line.shown():
        line.move("Rehearsing", 676, 676, "exchanges")
        line.say("The run so far: 30 calls.")
        line.say("Writing the report.")
        show("A warning.", error=True)  # draws the line anew
    last = terminal.getvalue().rpartition("A warning.\n")[2]
    assert "Writing the report." in last
    assert "676" not in last


def test_the_progress_line_shows_foreign_markup_and_escape_sequences_as_text(monkeypatch):
    terminal = at_terminal(monkeypatch)
    with moving_line().shown():
        moving_line().say("[bold red]x[/] [link=https://evil.example]y[/link] :smile:\x1b]0;title\x07 \x1b[31m\nError: forged")
    text = terminal.getvalue()
    assert "[bold red]x[/] [link=https://evil.example]y[/link] :smile:" in text
    assert "title" not in text
    assert "\x1b[31m" not in text
    assert "\nError: forged" not in text


@pytest.mark.parametrize(
    ("given", "reported"),
    [
        ((0, None, "", None, 0.0), ""),
        ((0, 20, "exchanges", None, 0.0), "0/20 exchanges"),
        ((1500, 9000, "exchanges", 2.5, 1.234), "1,500/9,000 exchanges · 2.5/s · 1.23 USD · 0:50:00 left"),
        ((1, 3, "steps", 0.05, 0.0), "1/3 steps · 3.0/min · 0:00:40 left"),
        ((3, 3, "steps", 1.0, 0.0), "3/3 steps · 1.0/s"),
    ],
)
def test_progress_shows_items_done_rate_money_and_time_left(given, reported):
    assert figures(*given) == reported


def test_without_a_terminal_only_the_pipelines_own_lines_are_shown(capsys):
    people = ForPeople(quiet=False)
    people.emit(record("Assessed 5 of 10."))
    people.emit(record("Finished in state Completed()", path="/lib/site-packages/prefect/flow_engine.py"))
    people.emit(record("A retry", logging.ERROR, "/lib/site-packages/prefect/task_engine.py"))
    assert capsys.readouterr().err == "Assessed 5 of 10.\n"


def test_a_warning_is_shown_once_and_quiet_shows_only_warnings(capsys):
    people = ForPeople(quiet=True)
    people.emit(record("Assessed 5 of 10."))
    for _ in range(3):
        people.emit(record("Left out: a\x1b[31m\nError: forged", logging.WARNING))
    assert capsys.readouterr().err == "Warning: Left out: a Error: forged\n"
    assert len(people.warnings) == 1
