"""A model's thinking within its text, which is no part of its reply: `<think>…</think>`, as open models write it."""

import re

THINKING, THOUGHT = "<think>", "</think>"
THOUGHTS = re.compile(r"<think>.*?(?:</think>\s*|(?P<open>\Z))", re.DOTALL)
"""Or what is not closed, to the end: then it is not searched again from each mark in it, which takes minutes where a model repeats the mark."""
UNOPENED = re.compile(r"\A(?:(?!<think>).)*?^[ \t]*</think>[ \t]*(?:\n\s*|\Z)", re.DOTALL | re.MULTILINE)
"""Thoughts whose beginning the chat template wrote: all before a closing mark that has a line of its own."""


def without_thinking(text: str, cut: bool = False) -> tuple[str, bool]:
    """Return a reply without its thinking, and whether there was any.

    Args:
        cut: whether the reply ran out of room, so that a mark which is not closed begins thoughts, and does not quote the mark.
    """
    said = UNOPENED.sub("", THOUGHTS.sub(lambda found: "" if found["open"] is None else found[0], text))
    before, opened, _ = said.partition(THINKING)
    if opened and (cut or not before.strip()):
        said = before
    return (text, False) if said == text else (said.strip(), True)
