"""Recognises empty gestures: first messages of a simulated user that say nothing, such as “ok” or “[greeting]”, in any language."""

import re

from core.judging.text_facts import words

MIN_WORDS = 3
"""Different words that a first message needs, and that one of its clauses needs if the message is short."""

SHORT = 4
"""Different words up to which a message is short. The poorest of 238 first messages by frontier models has 16 different words."""

_BRACKETED = re.compile(r"\[[^\]]*\]|\([^)]*\)|<[^>]*>|\*[^*]*\*")
_CLAUSE = re.compile(r"[.,;:!?…\n—–|/]+")


def is_gesture(text: str) -> bool:
    """Return whether a first message says nothing: it has hardly any words, repeats one, is a stage direction, or lists a few single words."""
    different = len(set(words(text)))
    if different < MIN_WORDS or not words(_BRACKETED.sub(" ", text)):
        return True
    return different <= SHORT and all(len(words(clause)) < MIN_WORDS for clause in _CLAUSE.split(text))
