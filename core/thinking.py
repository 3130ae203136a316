"""Removes a model's thinking from its text: `<think>…</think>`, as open models write it."""

import re

THINKING, THOUGHT = "<think>", "</think>"
THOUGHTS = re.compile(r"<think>.*?(?:</think>\s*|(?P<open>\Z))", re.DOTALL)
"""Closed thoughts, or an unclosed one up to the end of the text (group `open`). Matching to the end avoids a new search from each opening mark,
which takes minutes where a model repeats the mark."""
UNOPENED = re.compile(r"\A(?:(?!<think>).)*?^[ \t]*</think>[ \t]*(?:\n\s*|\Z)", re.DOTALL | re.MULTILINE)
"""Thoughts whose opening mark was written by the chat template: all text before a closing mark on a separate line."""


def without_thinking(text: str, cut: bool = False) -> tuple[str, bool]:
    """Return a reply without its thinking, and whether it contained any.

    Args:
        text: the reply.
        cut: whether the reply reached its token limit. An unclosed mark then begins thoughts; otherwise, after other text, it is a quotation.
    """
    reply = UNOPENED.sub("", THOUGHTS.sub(lambda thought: "" if thought["open"] is None else thought[0], text))
    before, opened, _ = reply.partition(THINKING)
    if opened and (cut or not before.strip()):
        reply = before
    return (text, False) if reply == text else (reply.strip(), True)
