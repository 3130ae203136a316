"""Detection of prompt leaks: replies that repeat the guidance, the note for one message, or the persona's facts."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache

from core.judging.text_facts import without_marks, words
from core.rehearsal.own_words import without_code

INSTRUCTED = 8
"""Consecutive words that a reply may not share with the instructions. None of the included packs' 718 recorded messages shares even 7."""

FACTS = 14
"""Consecutive words that a reply may not share with the filled-in prompts. A user may state its facts as they are written, but not copy a sentence."""

RUN, MOSTLY = 4, 0.6
"""A reply is composed from the prompts if at least this share of its runs of RUN words occurs in them; the maximum in those 718 messages is 0.27."""

COPY_WORDS = 3
"""Minimum words of a short reply that may not occur in the instructions as it is."""

LONG, CACHE_SIZE = 4000, 192
"""Minimum characters of a text whose runs are cached, which excludes the notes for one message, and the size of the cache. It holds, for both run
lengths, the instructions of fifty simultaneous conversations and the texts that conversations share."""

_TEMPLATE = re.compile(r"\{[{%#](?:(?!\{[{%#]).)*?[}%#]\}", re.DOTALL)
_QUOTED = re.compile(r"“[^”]{1,2000}”|(?<!\w)\"[^\"]{1,2000}\"(?!\w)|„[^“”]{1,2000}[“”]|«[^»]{1,2000}»")


@dataclass(frozen=True)
class Hidden:
    """The texts that a model reads in addition to the conversation.

    Args:
        instructions: the texts that say how to write, as templates without the values filled in.
        filled: the same texts with the values filled in.
        sayable: texts that the reply may repeat although they are in the prompt, such as the emergency services of the person's country.
    """

    instructions: Sequence[str]
    filled: Sequence[str]
    sayable: Sequence[str] = ()

    def runs(self, prompt: str, length: int) -> frozenset[int]:
        """Return the hashes of a prompt's runs of `length` words that a reply may not repeat."""
        return _runs(prompt, length).difference(*(_runs(text, length) for text in self.sayable))


def find_leak(text: str, hidden: Hidden, opens: bool = False) -> str | None:
    """Return the words of a reply that repeat texts which only its model read, or None.

    Quotations in the prompts are excluded, because they are examples of what to say. Code in the prompts is excluded too, because a persona pastes it; code in
    the reply may repeat the persona's facts, such as an error message, but not the instructions.

    Args:
        opens: whether the reply is the first message of the conversation. It may then not be a copy of a fact either, because it answers no question.
    """
    plain = without_marks(text)
    reply = words(without_code(plain))
    for texts, own_words, length in ((hidden.instructions, words(plain), INSTRUCTED), (hidden.filled, reply, FACTS)):
        for prompt in texts:
            if shared := _shared(own_words, hidden.runs(prompt, length), length):
                return shared
    if len(reply) >= INSTRUCTED:
        own_runs, filled_runs = [hash(run) for run in _each(reply, RUN)], [hidden.runs(prompt, RUN) for prompt in hidden.filled]
        if sum(any(run in runs for runs in filled_runs) for run in own_runs) >= MOSTLY * len(own_runs):
            return " ".join(reply)
    if COPY_WORDS <= len(reply) < INSTRUCTED and any(
        hash(tuple(reply)) in hidden.runs(prompt, len(reply)) for prompt in [*hidden.instructions, *(hidden.filled if opens else ())]
    ):
        return " ".join(reply)
    return None


def _shared(reply: Sequence[str], runs: frozenset[int], length: int) -> str | None:
    return next((" ".join(run) for run in _each(reply, length) if hash(run) in runs), None)


def _runs(prompt: str, length: int) -> frozenset[int]:
    """Return the hashes of a text's runs of `length` words; hashes take half the memory of the words."""
    return (_cached_runs if len(prompt) > LONG else _read_runs)(prompt, length)


def _read_runs(prompt: str, length: int) -> frozenset[int]:
    unquoted = _QUOTED.sub(" \n ", _TEMPLATE.sub(" \n ", without_code(prompt)))
    return frozenset(hash(run) for part in unquoted.split("\n") for run in _each(words(part), length))


_cached_runs = lru_cache(CACHE_SIZE)(_read_runs)


def _each(text_words: Sequence[str], length: int) -> Iterable[tuple[str, ...]]:
    return (tuple(text_words[start : start + length]) for start in range(len(text_words) - length + 1))
