"""A reply that repeats what only its model was given: the guidance, the note for one message, the facts of the persona."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.judging.text_facts import words
from core.rehearsal.own_words import without_code

INSTRUCTED = 8
"""Words of a run that a reply may not share with its instructions. No message of the included packs' 718 recorded ones shares one of 7."""

FACTS = 14
"""The same with all that a model was given: a persona's facts may be said in the words that they are written in, a sentence of them not."""

RUN, MOSTLY = 4, 0.6
"""Words of a run, and the share of a reply's runs from which it is put together of what its model was given; of those 718 no one has more than 0.27."""

WHOLE = 3
"""Words from which a whole reply that stands in the instructions is none."""

LONG, KEPT = 4000, 192
"""Characters of a text whose runs are kept, unlike those of a note for one message, and how many: by two lengths the instructions of fifty conversations
that are under way at once, and those that conversations share."""

_TEMPLATE = re.compile(r"\{[{%#](?:(?!\{[{%#]).)*?[}%#]\}", re.DOTALL)
_QUOTED = re.compile(r"“[^”]{1,2000}”|(?<!\w)\"[^\"]{1,2000}\"(?!\w)|„[^“”]{1,2000}[“”]|«[^»]{1,2000}»")


@dataclass(frozen=True)
class Hidden:
    """What a model was given beside the conversation.

    Args:
        instructions: the texts that say how to write; templates count without what is filled in.
        filled: the same with all that is filled in.
    """

    instructions: Sequence[str]
    filled: Sequence[str]


def find_leak(text: str, hidden: Hidden, opens: bool = False) -> str | None:
    """Return the words of a reply that repeat what its model alone was given, or nothing.

    What the prompts quote is there to be said, and does not count; nor does code, which a persona pastes.

    Args:
        opens: whether nobody has said anything before: a fact in the words that it is written in answers no question then.
    """
    said = words(without_code(text))
    for texts, longest in ((hidden.instructions, INSTRUCTED), (hidden.filled, FACTS)):
        for given in texts:
            if found := _shared(said, _runs(given, longest), longest):
                return found
    if len(said) >= INSTRUCTED:
        own, filled = [hash(run) for run in _each(said, RUN)], [_runs(text, RUN) for text in hidden.filled]
        if sum(any(run in given for given in filled) for run in own) >= MOSTLY * len(own):
            return " ".join(said)
    if WHOLE <= len(said) < INSTRUCTED and any(
        hash(tuple(said)) in _runs(given, len(said)) for given in [*hidden.instructions, *(hidden.filled if opens else ())]
    ):
        return " ".join(said)
    return None


def _shared(said: Sequence[str], given: frozenset[int], length: int) -> str | None:
    return next((" ".join(run) for run in _each(said, length) if hash(run) in given), None)


def _runs(given: str, length: int) -> frozenset[int]:
    """Return the hashes of a text's runs, which take half the memory."""
    return (_kept_runs if len(given) > LONG else _read_runs)(given, length)


def _read_runs(given: str, length: int) -> frozenset[int]:
    unquoted = _QUOTED.sub(" \n ", _TEMPLATE.sub(" \n ", without_code(given)))
    return frozenset(hash(run) for part in unquoted.split("\n") for run in _each(words(part), length))


_kept_runs = lru_cache(KEPT)(_read_runs)


def _each(said: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    return (tuple(said[start : start + length]) for start in range(len(said) - length + 1))
