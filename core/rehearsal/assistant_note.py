"""The note for an assistant's next answer: what it would otherwise have to count and to remember.

It is made from the conversation alone, so that a resume makes the same.
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
"""How many of the last answers are named by their beginnings, their ends, and the kind of help."""
OPENER_WORDS, ENDING_WORDS, EXCERPT_WORDS = 6, 8, 24
LETTERS = 12
"""Of each word of an excerpt, at most and on average."""
FIGURES, PHRASES, SUGGESTIONS = 10, 6, 3
"""How many of each are listed: a longer note is not heeded."""
RECENT = 3
"""Answers within which a suggestion is worth a follow-up; an older one that is asked after again is a matter that was let rest."""
REPEATED_IN, PLAIN = 3, 10
"""Answers from which a run of three words is a phrase of its own, if one of its words stands in the reference of ordinary English less often than that."""
STEM, CONTENT_LETTERS, COMMON = 6, 5, 3
"""A word says something if it has so many letters and stands in the reference of ordinary English less often than that; two that begin alike are the same."""
KEPT = 2048
"""Texts whose words are kept: those of fifty conversations that are under way at once."""
REPORT_LETTERS = 4
"""Letters that a word has at least which a plain report ("Told Lani") shares with a suggestion; it is rarer than PLAIN says."""


def note_inputs(pack: Pack, exchanges: Sequence[Exchange], message: str, refused: Sequence[dict[str, str]] = (), free_length: bool = False) -> dict[str, Any]:
    """Return what the note for the answer to a message is rendered with.

    Args:
        exchanges: the conversation before the message.
        refused: style faults of the answers to it that were refused, each with `fault` and `shown`.
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
    said = text.replace("*", "").split()
    cut = " ".join(said[:most])[: most * LETTERS]  # where no spaces stand between words, a text would not end
    return cut + ("…" if len(cut) < len(" ".join(said)) else "")


def _ending(text: str) -> dict[str, Any]:
    last = " ".join((sentences(text) or [""])[-1].replace("*", "").split())
    cut = " ".join(last.split()[-ENDING_WORDS:])[-ENDING_WORDS * LETTERS :]
    return {"question": ends_with_question(text), "text": ("…" if len(cut) < len(last) else "") + cut}


def _figures(pack: Pack, answers: Sequence[str]) -> list[str]:
    """Return the figures of speech that are used up, the most used first: an example of each, and the assistant's own last words of that build."""
    found = [pack.tics.search(text) for text in answers]
    uses = Counter(name for names in found for name in names)
    own = {name: shown for names in found for name, shown in names.items()}
    spent = sorted(used_up(pack.tics, answers), key=lambda figure: -uses[figure.name])
    shown = ([figure.example, _excerpt(own[figure.name], ENDING_WORDS)] for figure in spent[:FIGURES])
    return [text for example, mine in shown for text in ([example] if mine.lower() in example.lower() else [example, mine])]


def _own_phrases(pack: Pack, exchanges: Sequence[Exchange]) -> list[str]:
    """Return the runs of three words that the assistant likes, and that are neither ordinary English, nor the user's, nor one of the pack's figures.

    In another language nothing says what is ordinary, and there are none.
    """
    shares = [_known_words(exchange.assistant) for exchange in exchanges]
    if len(exchanges) < REPEATED_IN or sum(known for known, _ in shares) < ENGLISH * sum(said for _, said in shares):
        return []
    grams = [_own_grams(exchange.assistant) for exchange in exchanges]
    services = [pack.services.unknown, *pack.services.countries.values()] if pack.services else []  # whom to call in danger is said as often as it has to be
    liked = _in_many(grams, REPEATED_IN).difference(*map(_grams, [*services, *(exchange.user for exchange in exchanges)]))
    counts = Counter(chain.from_iterable(said & liked for said in grams))
    listed: list[str] = []
    for gram in sorted(liked, key=lambda gram: (-counts[gram], gram)):
        if len(listed) == PHRASES:
            break
        overlaps = any(len(set(gram.split()) & set(other.split())) > 1 for other in listed)
        if not overlaps and not pack.tics.search(gram):
            listed.append(gram)
    return listed


def _in_many(sets: Sequence[frozenset[str]], many: int) -> set[str]:
    """Return the elements of at least `many` of the sets; to count each element takes four times as long."""
    in_more = [set[str]() for _ in range(many)]
    for one in sets:
        for more, fewer in zip(in_more[:0:-1], in_more[-2::-1], strict=True):
            more.update(fewer & one)
        in_more[0] |= one
    return in_more[-1]


@lru_cache(maxsize=KEPT)  # what was said before is read again for each answer
def _grams(text: str) -> frozenset[str]:
    return frozenset(runs(text, GRAM))


@lru_cache(maxsize=KEPT)
def _own_grams(text: str) -> frozenset[str]:
    """Return the runs of a text that are no ordinary English and have no figures."""
    ordinary, common = ordinary_english().grams, ordinary_english().words
    return frozenset(
        gram
        for gram in _grams(text)
        if gram not in ordinary and not any(letter.isdigit() for letter in gram) and any(common[word] < PLAIN for word in gram.split())
    )


@lru_cache(maxsize=KEPT)
def _known_words(text: str) -> tuple[int, int]:
    """Return how many words of a text stand in the reference of ordinary English, and how many it has."""
    said = words(text.replace("’", "'"))
    return ordinary_english().known(said), len(said)


def _help(assistance: Help, answers: Sequence[str]) -> dict[str, Any]:
    """Return the kinds of the last answers, and the one that would be the third in a row."""
    names = [name for text in answers[-KINDS:] if (name := assistance.kind_of(text))]
    labels = [assistance.kinds[name].label for name in names]
    again = labels[-1] if len(names) > 1 and names[-1] == names[-2] else ""
    used = {assistance.kind_of(text) for text in answers} if again else set[str | None]()
    unused = [kind.label for name, kind in assistance.kinds.items() if name not in used] if again else []
    return {"lately": labels, "again": again, "unused": unused}


def _suggestions(assistance: Help, exchanges: Sequence[Exchange], message: str) -> list[dict[str, Any]]:
    """Return the last suggestions, and what came back of each."""
    said = [*(exchange.user for exchange in exchanges), message]
    found = []
    for place, exchange in list(enumerate(exchanges))[-RECENT:]:
        made = _first_suggestion(assistance.suggesting, exchange.assistant)
        if made is None:
            continue
        stems, known = _stems(made), frozenset[str]().union(*(_stems(text) for text in said[: place + 1]))
        around = next((text for text in exchange.assistant.split("\n\n") if made in text), made)
        came_back = _mention(assistance, said[place + 1 :], stems, known, _plain_words(around))
        asked = any(_takes_up(other.assistant, stems, known) for other in exchanges[place + 1 :])
        back = {"exchange_number": place + 2 + came_back[0], "text": _excerpt(came_back[1], EXCERPT_WORDS)} if came_back else None
        found.append({"exchange_number": place + 1, "text": _excerpt(made, EXCERPT_WORDS), "came_back": back, "asked": asked})
    return found[-SUGGESTIONS:]


@lru_cache(maxsize=KEPT)
def _first_suggestion(suggesting: tuple[str, ...], answer: str) -> str | None:
    return next((part for part in sentences(answer) if place_of(suggesting, plain(part)) is not None and _stems(part)), None)


def _mention(assistance: Help, messages: Sequence[str], stems: frozenset[str], known: frozenset[str], around: frozenset[str]) -> tuple[int, str] | None:
    """Return the last sentence that takes something up, and the place of its message."""
    mentions = [
        (place, part)
        for place, text in enumerate(messages)
        for part in sentences(text)
        if _takes_up(part, stems, known)
        or (stems & _stems(part) and assistance.comes_back(part))
        or (around & _plain_words(part) and assistance.reports_back(part))
    ]
    return mentions[-1] if mentions else None


def _takes_up(text: str, stems: frozenset[str], known: frozenset[str]) -> bool:
    """Say whether a text has two content words of a suggestion, one of them new to the conversation with it."""
    shared = stems & _stems(text)
    return len(shared) >= min(2, len(stems)) and bool(shared - known)


@lru_cache(maxsize=KEPT)
def _plain_words(text: str) -> frozenset[str]:
    common = ordinary_english().words
    return frozenset(
        word[:STEM] for word in words(text.lower()) if len(word) >= REPORT_LETTERS and "'" not in word and "’" not in word and common[word] < PLAIN
    )


@lru_cache(maxsize=KEPT)
def _stems(text: str) -> frozenset[str]:
    common = ordinary_english().words
    return frozenset(word[:STEM] for word in words(text) if len(word) >= CONTENT_LETTERS and "'" not in word and "’" not in word and common[word] < COMMON)
