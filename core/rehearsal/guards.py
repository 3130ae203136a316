"""Guards: the faults that make a rehearsed message unusable. Such a message is generated again, never repaired."""

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

COMPLETE_SENTENCES, LAST_WORDS = 3, 8
"""A message with at least COMPLETE_SENTENCES complete sentences must also complete its last one. A last sentence of fewer than LAST_WORDS words may be an
afterthought and need not be complete."""

ALONE = 3
"""An assistant's answer with at least this many words of the first person and none of the second speaks about its writer, as only a user does."""
ASKING = 2
"""A user's question with at least this many words of the second person, in a message with none of the first, is one that only the assistant asks."""
ECHO_SHARE = 0.4
"""Minimum share of a message's runs of words that occur in a message of the other side, to count as its repetition. The maximum in 2,219 messages by
frontier models is 0.24."""
ECHO_WORDS = 18
"""A user repeats the other side if it copies at least this many consecutive words; the maximum in 1,100 messages by frontier models is 15."""
COPY_WORDS = 3
"""Minimum words of a short message that may not be an exact copy of another."""
CACHE_SIZE = 2048
"""Number of messages whose runs are cached: those of fifty simultaneous conversations."""
_NOTHING = re.compile(r"\[\]|\(\)|\{\}")
ENVELOPE = frozenset({"message", "done", "text", "response", "reply", "answer", "role", "content"})
"""Keys of a JSON record in which a model wraps its message."""


def find_fault(
    guards: Guards, side: Side, text: str, earlier: Sequence[str], faults: Container[Fault] = tuple(Fault), heard: Sequence[str] = ()
) -> tuple[Fault, str] | None:
    """Return the first fault of a message with an excerpt that shows it, or None.

    Args:
        side: the side that wrote the message.
        earlier: messages of this side before it.
        faults: faults to look for.
        heard: messages of the other side before it; the message may not repeat them either.
    """
    own = own_words(text)
    own_statements = own if side == "assistant" else without_reports(own)
    tries: dict[Fault, Callable[[], str | None]] = {
        Fault.EMPTY: lambda: None if _says_something(text, side) else repr(text),
        Fault.LEAKED_REASONING: lambda: _search(guards.leaked_reasoning.of(side), own),
        Fault.META: lambda: _envelope(text) or _search(guards.verbatim, without_code(text)) or _search(guards.meta.of(side), own_statements),
        Fault.ROLE_INVERSION: lambda: _search(guards.role_inversion.of(side), own_statements) or _speaks_as_the_other(own_statements, side, guards),
        Fault.FOREIGN_SCRIPT: lambda: _foreign(own, guards),
        Fault.TRUNCATED: lambda: _unfinished(text, side, guards.punctuated),
        Fault.NEAR_REPEAT: lambda: _repeated(text, earlier, heard, guards.repeats, side),
    }
    for fault, find in tries.items():
        if fault in faults and (excerpt := find()):
            return fault, excerpt
    return None


def _says_something(text: str, side: Side) -> bool:
    """Return whether a message has a letter or a digit; for a user, an emoji or a program's empty brackets suffice."""
    if re.search(r"[^\W_]", text):
        return True
    return side == "user" and (any(unicodedata.category(character) == "So" for character in text) or bool(_NOTHING.search(text)))


def _envelope(text: str) -> str | None:
    """Return the JSON record that a message consists of, without its code fence; None for an ordinary message."""
    bare = re.sub(r"^```\w*\n|\n?```$", "", text.strip())
    try:
        record = json.loads(bare)
    except (ValueError, RecursionError):  # a record nested too deeply to be parsed is an ordinary message
        return None
    return bare if isinstance(record, dict) and record and set(record) <= ENVELOPE else None


def _search(patterns: tuple[str, ...], text: str) -> str | None:
    match = _finder(patterns).search(text) if patterns else None
    return match.group().strip() if match else None


@lru_cache(maxsize=32)
def _finder(patterns: tuple[str, ...]) -> Any:
    return finder(*patterns)


def _speaks_as_the_other(text: str, side: Side, guards: Guards) -> str | None:
    """Return the sentences in which a user speaks about the reader instead of itself, or an assistant about itself; None if there are none."""
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
    """Return the first 40 letters in other scripts if the message has too many of them, otherwise None."""
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
    """Return the last 40 characters of a message that stops in the middle of a sentence, otherwise None.

    A user may trail off, unless all the other sentences are complete.

    Args:
        punctuated: minimum words of a message that must end like a complete sentence.
    """
    end = text.rstrip()
    if len(words(text)) < punctuated:
        return None
    if side == "assistant" and ends_in_code(end):
        return end[-40:]
    lines = end.split("\n")
    quoted = end[-1] == "“" and "„" in lines[-1]  # in German, “ ends a quotation
    if quoted or UNSPACED.match(end[-1]) or not re.search(r"[^\W\d_]$|[,(\[{“:]$", end) or is_pasted(lines[-1]):
        return None
    *complete, last = sentences(end)
    if side == "assistant":
        item = re.match(r"\s*(?:[-*•]|\d+[.)])\s+(.*)", lines[-1])
        listed = (item and len(sentences(item[1])) == 1) or re.search(r"\.\w{2,6}$", end)  # a list item or a URL needs no full stop
        announced = len(lines) > 1 and "".join(lines[:-1]).endswith(":") and len(words(lines[-1])) < LAST_WORDS  # nor does a short line after a colon
        return None if (listed or announced) and end[-1].isalpha() else end[-40:]
    capitalised = all(part[0].isupper() for part in [*complete, last] if part[0].isalpha())
    careful = len(complete) >= COMPLETE_SENTENCES and all(part[-1] in '.?!"”)' for part in complete) and capitalised
    return end[-40:] if careful and len(words(last)) >= LAST_WORDS and end[-1] != ":" else None


def _repeated(text: str, earlier: Sequence[str], heard: Sequence[str], rule: Repeats, side: Side) -> str | None:
    """Return the phrase that a message repeats in a loop, or the earlier message of either side that it repeats; None if it repeats nothing.

    Code may be shown again, but a short answer of an assistant may not copy an earlier message, even if it is code only.

    Args:
        earlier: messages of the same side before it.
        heard: messages of the other side before it.
    """
    own = own_words(text)
    if circle := circle_of(own):
        return circle
    if len(words(own)) < rule.fewest_words:  # a user may repeat a few words of its own
        others = (*earlier, *heard) if side == "assistant" else heard
        return next((other for other in others if words(other) == words(text)), None) if len(words(text)) >= COPY_WORDS else None
    runs = _runs(own, rule.run)
    for others, share in ((earlier, rule.share), (heard, ECHO_SHARE)):
        if repeated := next((other for other in others if len(runs & _runs(own_words(other), rule.run)) >= share * len(runs)), None):
            return repeated
    if side == "user" and len(words(own)) >= ECHO_WORDS:
        return next((other for other in heard if _echoes(own, own_words(other), min(rule.run, ECHO_WORDS))), None)
    return None


def _echoes(own: str, other: str, length: int) -> bool:
    """Return whether two texts share `ECHO_WORDS` consecutive words.

    Such texts share all shorter runs of these words, too. The runs of `length` words are cached and rule out most pairs quickly.
    """
    if not (shared := _runs(own, length) & _runs(other, length)):
        return False
    in_a_row = max((len(list(group)) for is_shared, group in itertools.groupby(run in shared for run in _each(own, length)) if is_shared), default=0)
    return in_a_row + length > ECHO_WORDS and not set(_each(own, ECHO_WORDS)).isdisjoint(_each(other, ECHO_WORDS))


@lru_cache(maxsize=CACHE_SIZE)  # each message is compared with all later ones
def _runs(text: str, length: int) -> frozenset[tuple[str, ...]]:
    return frozenset(_each(text, length))


def _each(text: str, length: int) -> list[tuple[str, ...]]:
    own = words(text)
    return [tuple(own[start : start + length]) for start in range(max(1, len(own) - length + 1))]
