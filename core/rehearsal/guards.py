"""Guards: what makes a rehearsed message unusable. It is generated again, never repaired."""

import itertools
import json
import re
import unicodedata
from collections.abc import Callable, Container, Sequence
from functools import lru_cache
from typing import Any

from core.judging.text_facts import sentences, words
from core.llm.loops import circle_of
from core.packs.guards import Guards, Repeats, finder
from core.packs.word_search import UNSPACED
from core.records import Side
from core.rehearsal.own_words import ends_in_code, is_pasted, own_words, without_code, without_reports
from core.settings.faults import Fault

MANY, MANY_WORDS = 3, 8
"""Whole sentences from which one expects the last to be whole, too, and words of the last from which it is no afterthought."""

ALONE = 3
"""Words of the first person with which an assistant's answer, if nobody is addressed in it, is about itself."""
ASKING = 2
"""Words of the second person with which a user's question, if nothing in the message is said of oneself, is the assistant's."""
HEARD = 0.4
"""Share of a message's runs from which it gives back what the other side said; of 2,219 messages by frontier models none has more than 0.24."""
GIVEN_BACK = 18
"""Words in a row of the other side's that a user does not repeat; of 1,100 messages by frontier models none repeats more than 15."""
WHOLE = 3
"""Words from which a message that is another one word for word is none, however short it is."""
KEPT = 2048
"""Messages whose runs are kept: those of fifty conversations that are under way at once."""
_NOTHING = re.compile(r"\[\]|\(\)|\{\}")
ENVELOPE = frozenset({"message", "done", "text", "response", "reply", "answer", "role", "content"})
"""Keys of a record that a model puts its own message into."""


def find_fault(
    guards: Guards, side: Side, text: str, earlier: Sequence[str], faults: Container[Fault] = tuple(Fault), heard: Sequence[str] = ()
) -> tuple[Fault, str] | None:
    """Return the fault of a message with an excerpt that shows it, or nothing.

    Args:
        side: who wrote it.
        earlier: that side's messages before it.
        faults: those that are looked for.
        heard: the other side's messages before it, which it may not give back either.
    """
    own = own_words(text)
    said = own if side == "assistant" else without_reports(own)
    tries: dict[Fault, Callable[[], str | None]] = {
        Fault.EMPTY: lambda: None if _says_something(text, side) else repr(text),
        Fault.LEAKED_REASONING: lambda: _search(guards.leaked_reasoning.of(side), own),
        Fault.META: lambda: _envelope(text) or _search(guards.verbatim, without_code(text)) or _search(guards.meta.of(side), said),
        Fault.ROLE_INVERSION: lambda: _search(guards.role_inversion.of(side), said) or _speaks_as_the_other(said, side, guards),
        Fault.FOREIGN_SCRIPT: lambda: _foreign(own, guards),
        Fault.TRUNCATED: lambda: _unfinished(text, side, guards.punctuated),
        Fault.NEAR_REPEAT: lambda: _repeated(text, earlier, heard, guards.repeats, side),
    }
    for fault, find in tries.items():
        if fault in faults and (excerpt := find()):
            return fault, excerpt
    return None


def _says_something(text: str, side: Side) -> bool:
    if re.search(r"[^\W_]", text):
        return True
    return side == "user" and (any(unicodedata.category(character) == "So" for character in text) or bool(_NOTHING.search(text)))  # an emoji, or a program's []


def _envelope(text: str) -> str | None:
    """Return a message that is nothing but a record of itself."""
    bare = re.sub(r"^```\w*\n|\n?```$", "", text.strip())
    try:
        record = json.loads(bare)
    except (ValueError, RecursionError):  # a record that is nested too deep to be read is none
        return None
    return bare if isinstance(record, dict) and record and set(record) <= ENVELOPE else None


def _search(patterns: tuple[str, ...], text: str) -> str | None:
    match = _finder(patterns).search(text) if patterns else None
    return match.group().strip() if match else None


@lru_cache(maxsize=32)
def _finder(patterns: tuple[str, ...]) -> Any:
    return finder(*patterns)


def _speaks_as_the_other(text: str, side: Side, guards: Guards) -> str | None:
    """Return a few sentences in which a user tells of the other instead of itself, or an assistant of itself."""
    rule = guards.persons
    of_first, of_second = frozenset(rule.first), frozenset(rule.second)
    person_words, needed = (of_first, min(ALONE, rule.assistant[0])) if side == "assistant" else (of_second, min(ASKING, rule.user[0]))
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
    if side == "assistant":
        return text if sum(firsts) >= ALONE and not sum(seconds) else None
    asks = any(part.endswith("?") and second for part, second in zip(parts, seconds, strict=True))
    return text if asks and sum(seconds) >= ASKING and not sum(firsts) else None


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
    if len(words(text)) < punctuated:
        return None
    if side == "assistant" and ends_in_code(end):
        return end[-40:]
    lines = end.split("\n")
    quoted = end[-1] == "“" and "„" in lines[-1]  # which ends a quotation in German
    if quoted or UNSPACED.match(end[-1]) or not re.search(r"[^\W\d_]$|[,(\[{“:]$", end) or is_pasted(lines[-1]):
        return None
    *whole, last = sentences(end)
    if side == "assistant":
        item = re.match(r"\s*(?:[-*•]|\d+[.)])\s+(.*)", lines[-1])
        listed = (item and len(sentences(item[1])) == 1) or re.search(r"\.\w{2,6}$", end)  # an item of a list, or an address, needs no full stop
        announced = len(lines) > 1 and "".join(lines[:-1]).endswith(":") and len(words(lines[-1])) < MANY_WORDS  # nor does what a line with a colon announces
        return None if (listed or announced) and end[-1].isalpha() else end[-40:]
    careful = len(whole) >= MANY and all(part[-1] in '.?!"”)' for part in whole) and all(part[0].isupper() for part in [*whole, last] if part[0].isalpha())
    return end[-40:] if careful and len(words(last)) >= MANY_WORDS and end[-1] != ":" else None


def _repeated(text: str, earlier: Sequence[str], heard: Sequence[str], rule: Repeats, side: Side) -> str | None:
    """Return what a message says over and over, or the earlier one, its writer's or the other's, that it repeats in its own words.

    The same code may be shown again, but an assistant's answer is not code alone.
    """
    own = own_words(text)
    if circle := circle_of(own):
        return circle
    if len(words(own)) < rule.fewest_words:  # a user may say the same few words again
        others = (*earlier, *heard) if side == "assistant" else heard
        return next((other for other in others if words(other) == words(text)), None) if len(words(text)) >= WHOLE else None
    runs = _runs(own, rule.run)
    for others, share in ((earlier, rule.share), (heard, HEARD)):
        if found := next((other for other in others if len(runs & _runs(own_words(other), rule.run)) >= share * len(runs)), None):
            return found
    if side == "user" and len(words(own)) >= GIVEN_BACK:
        return next((other for other in heard if _gives_back(own, own_words(other), min(rule.run, GIVEN_BACK))), None)
    return None


def _gives_back(own: str, other: str, length: int) -> bool:
    """Say whether a message has `GIVEN_BACK` words in a row of another, which must have all their shorter runs, too: those are kept, and tell most apart."""
    if not (shared := _runs(own, length) & _runs(other, length)):
        return False
    in_a_row = max((len(list(group)) for is_shared, group in itertools.groupby(run in shared for run in _each(own, length)) if is_shared), default=0)
    return in_a_row + length > GIVEN_BACK and not set(_each(own, GIVEN_BACK)).isdisjoint(_each(other, GIVEN_BACK))


@lru_cache(maxsize=KEPT)  # each message is compared with all that follow it
def _runs(text: str, length: int) -> frozenset[tuple[str, ...]]:
    return frozenset(_each(text, length))


def _each(text: str, length: int) -> list[tuple[str, ...]]:
    own = words(text)
    return [tuple(own[start : start + length]) for start in range(max(1, len(own) - length + 1))]
