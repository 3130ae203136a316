"""Guards: what makes a rehearsed message unusable. It is generated again, never repaired."""

import itertools
import re
import unicodedata
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from typing import Any

import re2

from core.judging.text_facts import sentences, words
from core.packs.guards import Guards, Repeats
from core.records import Side
from core.settings.faults import Fault

MANY, MANY_WORDS = 3, 8
"""Whole sentences from which one expects the last to be whole, too, and words of the last from which it is no afterthought."""


def find_fault(guards: Guards, side: Side, text: str, earlier: Sequence[str], faults: Container[Fault] = tuple(Fault)) -> tuple[Fault, str] | None:
    """Return the fault of a message with an excerpt that shows it, or nothing.

    Args:
        side: who wrote it.
        earlier: that side's messages before it.
        faults: those that are looked for.
    """
    own = _without_quotations(text)
    tries: dict[Fault, Callable[[], str | None]] = {
        Fault.EMPTY: lambda: None if _says_something(text, side) else repr(text),
        Fault.LEAKED_REASONING: lambda: _search(guards.leaked_reasoning.of(side), own),
        Fault.META: lambda: _search(guards.verbatim, text) or _search(guards.meta.of(side), own),
        Fault.ROLE_INVERSION: lambda: _search(guards.role_inversion.of(side), own) or _speaks_as_the_other(own, side, guards),
        Fault.FOREIGN_SCRIPT: lambda: _foreign(own, guards),
        Fault.TRUNCATED: lambda: _unfinished(text, side, guards.punctuated),
        Fault.NEAR_REPEAT: lambda: _repeated(text, earlier, guards.repeats),
    }
    for fault, find in tries.items():
        if fault in faults and (excerpt := find()):
            return fault, excerpt
    return None


def _says_something(text: str, side: Side) -> bool:
    if re.search(r"[^\W_]", text):
        return True
    return side == "user" and any(unicodedata.category(character) == "So" for character in text)  # an emoji is a message of a person's


def _without_quotations(text: str) -> str:
    """Return what the writer says in a message: not what it quotes, or proposes to be said."""
    plain = text.replace("’", "'").replace("“", '"').replace("”", '"').replace("„", '"')
    return re.sub(r'"[^"\n]{1,600}"|(?<!\*)\*(?!\*)[^*\n]{25,600}\*|^>.*$', '""', plain, flags=re.MULTILINE)


def _search(patterns: tuple[str, ...], text: str) -> str | None:
    match = _any_of(patterns).search(text) if patterns else None
    return match.group().strip() if match else None


@lru_cache(maxsize=32)
def _any_of(patterns: tuple[str, ...]) -> Any:
    return re2.compile("|".join(f"(?im:{pattern})" for pattern in patterns))


def _speaks_as_the_other(text: str, side: Side, guards: Guards) -> str | None:
    """Return a few sentences in which a user tells of the other instead of itself, or an assistant of itself."""
    rule = guards.persons
    of_first, of_second = frozenset(rule.first), frozenset(rule.second)
    person_words, needed = (of_first, rule.assistant[0]) if side == "assistant" else (of_second, rule.user[0])
    if sum(word in person_words for word in words(text)) < needed:
        return None
    parts = sentences(text)
    firsts, seconds = ([sum(word in person for word in words(part)) for part in parts] for person in (of_first, of_second))
    for start in range(max(1, len(parts) - rule.sentences + 1)):
        window = slice(start, start + rule.sentences)
        first, second = sum(firsts[window]), sum(seconds[window])
        if side == "assistant" and first >= rule.assistant[0] and second <= rule.assistant[1]:
            return " ".join(parts[window])
        if side == "user" and second >= rule.user[0] and first <= rule.user[1] and _search(guards.answering, " ".join(parts[window])):
            return " ".join(parts[window])
    return None


def _foreign(text: str, guards: Guards) -> str | None:
    latin = guards.script == "LATIN"
    if latin and not any(character.isalpha() for character in text if not character.isascii()):
        return None
    letters = [character for character in text if character.isalpha()]
    foreign = [not ((latin and letter.isascii()) or _is_of(letter, guards.script)) for letter in letters]
    run = max((len(list(group)) for is_foreign, group in itertools.groupby(foreign) if is_foreign), default=0)
    if run and (run >= guards.foreign_run or sum(foreign) >= guards.foreign_share * len(letters)):
        return "".join(letter for letter, is_foreign in zip(letters, foreign, strict=True) if is_foreign)[:40]
    return None


def _is_of(letter: str, script: str) -> bool:
    return unicodedata.name(letter, "").startswith((script, "FEMININE", "MASCULINE"))


def _unfinished(text: str, side: Side, punctuated: int) -> str | None:
    """Return the end of a message that stops in a sentence. A user may trail off, unless all its other sentences are whole ones."""
    end = text.rstrip()
    if len(words(text)) < punctuated or not re.search(r"[a-z,(\[{“]$", end, re.IGNORECASE):
        return None
    *whole, last = sentences(end)
    if side == "assistant":
        listed = re.match(r"[-*•\d]", last) or re.search(r"\.\w{2,6}$", end)  # an item of a list, or an address, needs no full stop
        return None if listed and end[-1].isalpha() else end[-40:]
    careful = len(whole) >= MANY and all(part[-1] in '.?!"”)' for part in whole) and all(part[0].isupper() for part in [*whole, last] if part[0].isalpha())
    return end[-40:] if careful and len(words(last)) >= MANY_WORDS else None


def _repeated(text: str, earlier: Sequence[str], rule: Repeats) -> str | None:
    own = words(text)
    if len(own) < rule.fewest_words:
        return None
    runs = _runs(text, rule.run)
    return next((other for other in earlier if len(runs & _runs(other, rule.run)) >= rule.share * len(runs)), None)


@lru_cache(maxsize=4096)  # each message is compared with all that follow it
def _runs(text: str, length: int) -> frozenset[tuple[str, ...]]:
    own = words(text)
    return frozenset(tuple(own[start : start + length]) for start in range(max(1, len(own) - length + 1)))
