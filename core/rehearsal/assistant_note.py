"""The note for an assistant's next answer: what the assistant would otherwise have to count and remember.

The note depends on the conversation alone, so that a resumed conversation gets the same note.
"""

from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from itertools import chain
from typing import Any

from core.judging.ordinary_english import ENGLISH, GRAM, ordinary_english, runs
from core.judging.text_facts import ends_with_question, sentences, words
from core.packs.help import Help
from core.packs.pack import Pack
from core.packs.tics import used_up
from core.packs.word_search import place_of, plain
from core.records import Exchange

OPENERS, ENDINGS, KINDS = 4, 3, 4
"""How many of the last answers the note quotes by their first words and by their last words, and lists by their kind of help."""
OPENER_WORDS, ENDING_WORDS, EXCERPT_WORDS = 6, 8, 24
LETTERS = 12
"""Characters that an excerpt may have per word, on average; they also cut a text without spaces."""
FIGURES, PHRASES, SUGGESTIONS = 10, 6, 3
"""Maximum number of each in the note: models ignore a longer note."""
RECENT = 3
"""Number of last answers whose suggestions are worth a follow-up; older suggestions have been dropped by both sides."""
REPEATED_IN, PLAIN = 3, 10
"""A run of three words is the assistant's own phrase if it occurs in at least REPEATED_IN answers and the reference of ordinary English has one of its
words fewer than PLAIN times."""
STEM, CONTENT_LETTERS, COMMON = 6, 5, 3
"""A content word has at least CONTENT_LETTERS letters and occurs fewer than COMMON times in the reference of ordinary English. Two content words with the
same first STEM letters are the same word."""
CACHE_SIZE = 2048
"""Number of texts whose words are cached: those of fifty simultaneous conversations."""
REPORT_LETTERS = 4
"""Minimum letters of a word that a plain report ("Told Lani") shares with a suggestion; the word must also occur fewer than PLAIN times."""


def note_inputs(pack: Pack, exchanges: Sequence[Exchange], message: str, refused: Sequence[dict[str, str]] = (), free_length: bool = False) -> dict[str, Any]:
    """Return the template inputs of the note for the answer to a message.

    Args:
        exchanges: the conversation before the message.
        message: the user's message that is to be answered.
        refused: style faults of the refused answers to this message, each with `fault` and `shown`, an excerpt.
        free_length: whether the answer may have any length, as in an emergency.
    """
    answers = [exchange.assistant for exchange in exchanges]
    low, high, most = pack.help.length.bounds(len(words(message)))
    return {
        "exchange_number": len(exchanges) + 1,
        "user_words": len(words(message)),
        "length": None if free_length else {"low": low, "high": high, "most": most},
        "openers": [_excerpt(text, OPENER_WORDS) for text in answers[-OPENERS:]],
        "endings": [_ending(text) for text in answers[-ENDINGS:]],
        "used_up": [*_figures(pack, answers), *_own_phrases(pack, exchanges)],
        "help": _help(pack.help, answers),
        "suggestions": _suggestions(pack.help, exchanges, message),
        "refused": list(refused),
    }


def _excerpt(text: str, most: int) -> str:
    parts = text.replace("*", "").split()
    cut = " ".join(parts[:most])[: most * LETTERS]  # a text without spaces is a single part of any length
    return cut + ("…" if len(cut) < len(" ".join(parts)) else "")


def _ending(text: str) -> dict[str, Any]:
    last = " ".join((sentences(text) or [""])[-1].replace("*", "").split())
    cut = " ".join(last.split()[-ENDING_WORDS:])[-ENDING_WORDS * LETTERS :]
    return {"question": ends_with_question(text), "text": ("…" if len(cut) < len(last) else "") + cut}


def _figures(pack: Pack, answers: Sequence[str]) -> list[str]:
    """Return the overused figures of speech, the most used first: an example of each, and the assistant's latest wording of it."""
    matches = [pack.tics.search(text) for text in answers]
    uses = Counter(name for names in matches for name in names)
    latest = {name: wording for names in matches for name, wording in names.items()}
    overused = sorted(used_up(pack.tics, answers), key=lambda figure: -uses[figure.name])
    pairs = ([figure.example, _excerpt(latest[figure.name], ENDING_WORDS)] for figure in overused[:FIGURES])
    return [text for example, own in pairs for text in ([example] if own.lower() in example.lower() else [example, own])]


def _own_phrases(pack: Pack, exchanges: Sequence[Exchange]) -> list[str]:
    """Return the runs of three words that the assistant overuses, the most used first.

    Ordinary English, the user's own phrases and the pack's figures of speech are excluded. Only English has a reference of what is ordinary, so the list is
    empty for other languages.
    """
    shares = [_known_words(exchange.assistant) for exchange in exchanges]
    if len(exchanges) < REPEATED_IN or sum(known for known, _ in shares) < ENGLISH * sum(total for _, total in shares):
        return []
    grams = [_own_grams(exchange.assistant) for exchange in exchanges]
    services = [pack.services.unknown, *pack.services.countries.values()] if pack.services else []  # emergency services may be named as often as needed
    overused = _in_many(grams, REPEATED_IN).difference(*map(_grams, [*services, *(exchange.user for exchange in exchanges)]))
    counts = Counter(chain.from_iterable(of_answer & overused for of_answer in grams))
    listed: list[str] = []
    for gram in sorted(overused, key=lambda gram: (-counts[gram], gram)):
        if len(listed) == PHRASES:
            break
        overlaps = any(len(set(gram.split()) & set(other.split())) > 1 for other in listed)
        if not overlaps and not pack.tics.search(gram):
            listed.append(gram)
    return listed


def _in_many(sets: Sequence[frozenset[str]], many: int) -> set[str]:
    """Return the elements that at least `many` of the sets contain; counting each element would take four times as long."""
    in_more = [set[str]() for _ in range(many)]
    for elements in sets:
        for more, fewer in zip(in_more[:0:-1], in_more[-2::-1], strict=True):
            more.update(fewer & elements)
        in_more[0] |= elements
    return in_more[-1]


@lru_cache(maxsize=CACHE_SIZE)  # each note reads all earlier messages again
def _grams(text: str) -> frozenset[str]:
    return frozenset(runs(text, GRAM))


@lru_cache(maxsize=CACHE_SIZE)
def _own_grams(text: str) -> frozenset[str]:
    """Return the runs of three words of a text that are not ordinary English and contain no digits."""
    ordinary, common = ordinary_english().grams, ordinary_english().words
    return frozenset(
        gram
        for gram in _grams(text)
        if gram not in ordinary and not any(letter.isdigit() for letter in gram) and any(common[word] < PLAIN for word in gram.split())
    )


@lru_cache(maxsize=CACHE_SIZE)
def _known_words(text: str) -> tuple[int, int]:
    """Return how many words of a text the reference of ordinary English has, and how many words the text has."""
    text_words = words(text)
    return ordinary_english().known(text_words), len(text_words)


def _help(assistance: Help, answers: Sequence[str]) -> dict[str, Any]:
    """Return the kinds of help of the last answers, a kind that was given twice in a row, and the kinds not given yet."""
    names = [name for text in answers[-KINDS:] if (name := assistance.kind_of(text))]
    labels = [assistance.kinds[name].label for name in names]
    again = labels[-1] if len(names) > 1 and names[-1] == names[-2] else ""
    used = {assistance.kind_of(text) for text in answers} if again else set[str | None]()
    unused = [kind.label for name, kind in assistance.kinds.items() if name not in used] if again else []
    return {"lately": labels, "again": again, "unused": unused}


def _suggestions(assistance: Help, exchanges: Sequence[Exchange], message: str) -> list[dict[str, Any]]:
    """Return the assistant's last suggestions, each with the user's reply to it and whether the assistant has asked about it since."""
    messages = [*(exchange.user for exchange in exchanges), message]
    suggestions = []
    for place, exchange in list(enumerate(exchanges))[-RECENT:]:
        suggestion = _first_suggestion(assistance.suggesting, exchange.assistant)
        if suggestion is None:
            continue
        stems, earlier_stems = _stems(suggestion), frozenset[str]().union(*(_stems(text) for text in messages[: place + 1]))
        paragraph = next((text for text in exchange.assistant.split("\n\n") if suggestion in text), suggestion)
        mention = _mention(assistance, messages[place + 1 :], stems, earlier_stems, _plain_words(paragraph))
        asked = any(_takes_up(other.assistant, stems, earlier_stems) for other in exchanges[place + 1 :])
        came_back = {"exchange_number": place + 2 + mention[0], "text": _excerpt(mention[1], EXCERPT_WORDS)} if mention else None
        suggestions.append({"exchange_number": place + 1, "text": _excerpt(suggestion, EXCERPT_WORDS), "came_back": came_back, "asked": asked})
    return suggestions[-SUGGESTIONS:]


@lru_cache(maxsize=CACHE_SIZE)
def _first_suggestion(suggesting: tuple[str, ...], answer: str) -> str | None:
    return next((part for part in sentences(answer) if place_of(suggesting, plain(part)) is not None and _stems(part)), None)


def _mention(assistance: Help, messages: Sequence[str], stems: frozenset[str], earlier_stems: frozenset[str], around: frozenset[str]) -> tuple[int, str] | None:
    """Return the last of the user's sentences that refers to a suggestion, after the index of its message; None if there is none.

    Args:
        messages: the user's messages after the suggestion.
        stems: stems of the suggestion's content words.
        earlier_stems: stems of the user's messages up to the suggestion.
        around: less common words of the suggestion's paragraph.
    """
    mentions = [
        (place, part)
        for place, text in enumerate(messages)
        for part in sentences(text)
        if _takes_up(part, stems, earlier_stems)
        or (stems & _stems(part) and assistance.comes_back(part))
        or (around & _plain_words(part) and assistance.reports_back(part))
    ]
    return mentions[-1] if mentions else None


def _takes_up(text: str, stems: frozenset[str], earlier_stems: frozenset[str]) -> bool:
    """Return whether a text has two content words of a suggestion, at least one of which the user had not used before it."""
    shared = stems & _stems(text)
    return len(shared) >= min(2, len(stems)) and bool(shared - earlier_stems)


@lru_cache(maxsize=CACHE_SIZE)
def _plain_words(text: str) -> frozenset[str]:
    common = ordinary_english().words
    return frozenset(
        word[:STEM] for word in words(text.lower()) if len(word) >= REPORT_LETTERS and "'" not in word and "’" not in word and common[word] < PLAIN
    )


@lru_cache(maxsize=CACHE_SIZE)
def _stems(text: str) -> frozenset[str]:
    common = ordinary_english().words
    return frozenset(word[:STEM] for word in words(text) if len(word) >= CONTENT_LETTERS and "'" not in word and "’" not in word and common[word] < COMMON)
