"""Style faults: faults of a usable answer for which a better one is requested, a bounded number of times."""

from collections.abc import Container, Sequence

from core.judging.text_facts import words
from core.packs.pack import Pack
from core.packs.tics import first_over
from core.settings.faults import Fault

REWRITES = {Fault.TIC: 2, Fault.TOO_LONG: 1}
"""Maximum rewrites of an answer for each style fault. After them the answer is accepted, because a conversation is worth more than a phrase."""


def style_faults(pack: Pack, text: str, message: str, earlier: Sequence[str], faults: Container[Fault] = tuple(REWRITES)) -> dict[Fault, str]:
    """Return the style faults of an answer, each with its evidence: the overused phrase, or the length and the limit.

    Args:
        text: the answer.
        message: the user's message that it answers.
        earlier: the answers before it.
        faults: faults to look for.
    """
    evidence = {}
    if Fault.TIC in faults and (over := first_over(pack.tics, text, earlier)):
        evidence[Fault.TIC] = over[1]
    _, _, most = pack.help.length.bounds(len(words(message)))
    if Fault.TOO_LONG in faults and (length := len(words(text))) > most:
        evidence[Fault.TOO_LONG] = f"{length} words; the maximum is {most}"
    return evidence
