"""Measured facts about a transcript: counts that a judge would otherwise have to guess."""

from collections import Counter
from collections.abc import Sequence
from typing import Any

from core.judging.echo import echoes, summarised
from core.judging.text_facts import ends_with_question, is_measured, length_ratios, opener, words
from core.packs.tics import Tics
from core.records import Exchange


def measure(exchanges: Sequence[Exchange], tics: Tics) -> dict[str, Any]:
    """Return the facts that the prompt gives to every judge.

    Returns:
        `measured` (whether the other facts may be shown: false for a script in which the counts were not checked), `user_words` and `assistant_words`
        (counts, one per exchange), `length_ratio` (mean of the answer's words over the message's), `question_endings` (share of the assistant's messages,
        0 to 1), `repeated_openers` (opener and count, most frequent first), `tics` (the pack's figures of speech that occur in more answers than their
        bound allows, most frequent first), and `echo` (shares of the answers' runs of four words that are copied from the user or from earlier answers,
        and the longest copied run).
    """
    openers = Counter(opener(exchange.assistant) for exchange in exchanges)
    ratios = length_ratios(exchanges)
    return {
        "measured": is_measured(exchanges),
        "user_words": [len(words(exchange.user)) for exchange in exchanges],
        "assistant_words": [len(words(exchange.assistant)) for exchange in exchanges],
        "length_ratio": round(sum(ratios) / len(ratios), 2),
        "question_endings": round(sum(ends_with_question(exchange.assistant) for exchange in exchanges) / len(exchanges), 2),
        "repeated_openers": [{"opener": text, "count": count} for text, count in openers.most_common(5) if count > 1],
        "tics": _over_bound(exchanges, tics),
        "echo": _echo(exchanges),
    }


def _over_bound(exchanges: Sequence[Exchange], tics: Tics) -> list[dict[str, Any]]:
    uses: dict[str, list[int]] = {}
    for exchange in exchanges:
        for name in tics.search(exchange.assistant):
            uses.setdefault(name, []).append(exchange.exchange_number)
    over = [
        {"name": figure.name, "example": figure.example, "exchanges": places}
        for figure in tics.figures
        if (places := uses.get(figure.name)) and figure.over(len(places) - 1, len(exchanges) - 1)
    ]
    return sorted(over, key=lambda item: -len(item["exchanges"]))


def _echo(exchanges: Sequence[Exchange]) -> dict[str, Any]:
    summary = summarised(echoes(exchanges))
    return {
        "copied": summary.copied or 0.0,
        "repeated": summary.repeated or 0.0,
        "longest": summary.longest,
        "longest_words": summary.longest_words,
        "longest_exchange": summary.longest_exchange,
    }
