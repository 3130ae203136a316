"""Words, sentences, openers, endings and lengths of messages, as judges, guards and audits count them."""

import re
import sys
import unicodedata
from collections.abc import Sequence
from functools import lru_cache
from html import unescape

from core.packs.word_search import UNSPACED
from core.records import Exchange

OPENER_WORDS = 3
"""Number of words of an opener."""

MEASURED = 0.9
"""Share of Latin letters that a side's messages need for their counts to be shown to judges: the counts were checked only in languages of this script."""

MAX_CACHED = 4000
"""Characters of the longest text whose words and sentences are cached."""

_WORD = re.compile(r"\w+(?:'\w+)*")
_INVISIBLE = re.compile(r"[\u00ad\u200b-\u200f\u202a-\u202e\u2060-\u2064\ufe00-\ufe0f\ufeff]")
"""Characters without a form of their own: soft hyphens, joiners, marks of direction, and variants of emoji."""
_MARKS = re.compile(r"^\s*(?:[-*•]|\d{1,2}[.)])\s+|\\[nrt]", re.MULTILINE)
"""Marks of list items, and line breaks written as in JSON."""
_LETTERS = re.compile(r"[^\W\d_]+")
_LATIN = re.compile(r"[A-Za-zª-ɏḀ-ỿﬀ-ﬆ]+")
_BEYOND = re.compile(r"[\u0300-\u036f\u0483-\u0489\u0590-\u1cff\u2c00-\uabff\uf900-\ufaff\U00010000-\U0003ffff]")
"""Characters that need Unicode's categories, because Python's `\\w` splits them wrongly: combining marks, and scripts without spaces."""
_QUESTION = "?\uff1f\u061f\u2047\u2048\u2049\u203d\u037e\u055e\u1367\u2cfa\u2e2e\ua60f"
_GREEK = re.compile(r"[\u0370-\u03ff]")
"""Greek letters: in Greek a semicolon is the question mark."""
_STOPS = re.compile(r"(?<=[.!?؟۔।։።])\s+|(?<=[。！？｡])(?![」』”’）)])|\n+")
_SMILEY = re.compile(r"\s[:;=]-?[)(DPp3]+$|\s<3$")
_NOTHING_SAID = ("Z", "So", "Sk", "Cf", "Cc", "Co", "Cn", "Mn", "Me", "Pe", "Pf", "Pi")
"""Unicode categories of the characters that may follow a sentence's last mark: spaces, emoji and their modifiers, closing brackets and quotes."""


def words(text: str) -> list[str]:
    """Return a text's words in lower case, without punctuation, Markdown or invisible characters; in a script without spaces each letter counts as a word.

    Words that look alike are equal: an apostrophe is always `'`, and a full-width letter is the ordinary one (Unicode's form NFKC).
    """
    return list(_cached_words(text) if len(text) <= MAX_CACHED else _split(text))


@lru_cache(maxsize=4096)  # earlier messages are read again with each new one
def _cached_words(text: str) -> tuple[str, ...]:
    return tuple(map(sys.intern, _split(text)))  # a word that occurs in many texts is stored once


def without_marks(text: str) -> str:
    """Return a text without what a model may put between words that it copies: list marks, HTML entities, and line breaks written as in JSON."""
    return _MARKS.sub(" ", unescape(text))


def _split(text: str) -> list[str]:
    if not text.isascii():
        text = unicodedata.normalize("NFKC", _INVISIBLE.sub("", text)).replace("’", "'")
    plain = text.lower().replace("_", " ")  # of Markdown's marks the only one that `\w` takes for a letter
    return _words_beyond(plain) if not plain.isascii() and _BEYOND.search(plain) else _WORD.findall(plain)


def _words_beyond(text: str) -> list[str]:
    """Return the words by Unicode's categories: letters and numbers with their combining marks."""
    parts = []
    for character in text:
        kind = unicodedata.category(character)[0]
        if kind == "L" and UNSPACED.match(character):
            parts += [" ", character, "\0"]
        elif kind == "M" and parts and parts[-1] == "\0":
            parts.insert(-1, character)  # a mark belongs to the letter before it
        else:
            parts.append(character if kind in "LMN" or character == "'" else " ")
    return [word for part in "".join(parts).replace("\0", " ").split() if (word := part.strip("'"))]


def sentences(text: str) -> list[str]:
    """Split a text into sentences and lines."""
    return list(_cached_sentences(text) if len(text) <= MAX_CACHED else _parts(text))


@lru_cache(maxsize=2048)
def _cached_sentences(text: str) -> tuple[str, ...]:
    return tuple(_parts(text))


def _parts(text: str) -> list[str]:
    return [part.strip() for part in _STOPS.split(text) if part.strip()]


def opener(text: str) -> str:
    """Return the first few words of a message, by which repeated openers are found."""
    return " ".join(words(text)[:OPENER_WORDS])


def ends_with_question(text: str) -> bool:
    """Return whether a message's last sentence is a question; quotes, brackets, Markdown and emoji after its mark are ignored."""
    rest = _SMILEY.sub("", text.rstrip())
    end = len(rest)  # a shorter copy for each mark would take minutes for a message of nothing else
    while end and (rest[end - 1] in "\"'*_~`" or unicodedata.category(rest[end - 1]).startswith(_NOTHING_SAID)):
        end -= 1
    rest = rest[:end]
    mark = rest.rstrip("!！")[-1:]
    return bool(mark) and (mark in _QUESTION or (mark == ";" and bool(_GREEK.search(rest))))


def is_measured(exchanges: Sequence[Exchange]) -> bool:
    """Return whether the counts of a conversation may be shown to a judge; in a script in which they were not checked they may be wrong."""
    return all(_is_latin([getattr(exchange, side) for exchange in exchanges]) for side in ("user", "assistant"))


def _is_latin(texts: Sequence[str]) -> bool:
    letters = sum(len(run) for text in texts for run in _LETTERS.findall(text))
    latin = sum(len(run) for text in texts for run in _LATIN.findall(text))
    return latin >= MEASURED * letters


def length_ratios(exchanges: Sequence[Exchange]) -> list[float]:
    """Return the number of words of the answer over that of the message, for each exchange."""
    return [len(words(exchange.assistant)) / max(1, len(words(exchange.user))) for exchange in exchanges]
