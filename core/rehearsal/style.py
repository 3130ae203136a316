"""Style faults: an answer with one could be used, but a better one is asked for, a bounded number of times."""

from collections.abc import Container, Sequence

from core.judging.text_facts import words
from core.packs.pack import Pack
from core.packs.tics import first_over
from core.settings.faults import Fault

REWRITES = {Fault.TIC: 2, Fault.TOO_LONG: 1}
"""How often an answer is asked for again for each style fault; then it is taken as it is, since a conversation is worth more than a phrase."""


def style_faults(pack: Pack, text: str, message: str, earlier: Sequence[str], faults: Container[Fault] = tuple(REWRITES)) -> dict[Fault, str]:
    """Return the style faults of an answer, each with what shows it.

    Args:
        message: that it answers.
        earlier: the answers before it.
        faults: those that are looked for.
    """
    found = {}
    if Fault.TIC in faults and (over := first_over(pack.tics, text, earlier)):
        found[Fault.TIC] = over[1]
    _, _, most = pack.help.length.bounds(len(words(message)))
    if Fault.TOO_LONG in faults and (length := len(words(text))) > most:
        found[Fault.TOO_LONG] = f"{length} words, where {most} are the most"
    return found
