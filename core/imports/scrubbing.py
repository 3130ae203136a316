"""Personal data in conversations replaced: the same person, number or address is the same placeholder throughout a conversation."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.fingerprint import fingerprint
from core.records import Exchange, Transcript

KINDS = ("NAME", "E-MAIL", "PHONE", "ADDRESS", "DATE OF BIRTH", "ID", "ACCOUNT")
"""What is looked for, the strongest last: where two finds overlap, the longer one counts, and of equal ones the stronger."""


@dataclass(frozen=True)
class Find:
    """Personal data in a text: which kind, and where."""

    kind: str
    start: int
    end: int


Finder = Callable[[str], Sequence[Find]]


@dataclass
class ScrubReport:
    """How often each kind was replaced, and how many different values those were; never the values."""

    replaced: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)


def scrub(transcript: Transcript, find: Finder, report: ScrubReport) -> Transcript:
    """Replace personal data by placeholders such as `[NAME 1]`, wherever in the conversation they occur again.

    What the file said of itself, its persona and its system prompt are taken away: nobody has looked through them. So are its name and its id, which may be
    a person's: a hash of the id takes its place.

    Args:
        find: looks for personal data in one text.
        report: filled in on the way.
    """
    texts = [transcript.opening or "", *(text for exchange in transcript.exchanges for text in (exchange.user, exchange.assistant))]
    known = _Known()
    found = [_apart(find(text)) for text in texts]
    for text, finds in zip(texts, found, strict=True):
        for item in finds:
            known.add(item.kind, text[item.start : item.end])
    cleaned = [known.replaced(text, finds, report) for text, finds in zip(texts, found, strict=True)]
    report.values += known.counts
    opening, said = cleaned[0], cleaned[1:]
    exchanges = [Exchange(exchange_number=number // 2 + 1, user=said[number], assistant=said[number + 1]) for number in range(0, len(said), 2)]
    kept = {name: value for name, value in transcript.provenance.items() if name in ("seed", "reading")}
    name = f"conversation-{fingerprint(transcript.id)}"
    return transcript.model_copy(update={"id": name, "exchanges": exchanges, "opening": opening or None, "persona": None, "system": None, "provenance": kept})


class _Known:
    """The values that were found in a conversation, and their placeholders."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._placeholders: dict[tuple[str, str], str] = {}
        self._words: dict[str, str] = {}

    def add(self, kind: str, value: str) -> str:
        """Return the placeholder of a value; part of a name that is known is that name."""
        key = (kind, _plain(value))
        if key in self._placeholders:
            return self._placeholders[key]
        words = [word for word in re.findall(r"[^\W\d_]+", value) if len(word) > 1] if kind == "NAME" else []
        placeholder = self._words.get(words[0]) if len(words) == 1 else None
        if placeholder is None:
            self.counts[kind] += 1
            placeholder = f"[{kind} {self.counts[kind]}]"
        self._placeholders[key] = placeholder
        for word in words:
            if word[0].isupper():
                self._words.setdefault(word, placeholder)
        return placeholder

    def replaced(self, text: str, finds: Sequence[Find], report: ScrubReport) -> str:
        """Return a text with what was found in it, and names that were found elsewhere, replaced."""
        parts, place = list[str](), 0
        for item in finds:
            parts += [self._names(text[place : item.start], report), self.add(item.kind, text[item.start : item.end])]
            report.replaced[item.kind] += 1
            place = item.end
        return "".join([*parts, self._names(text[place:], report)])

    def _names(self, text: str, report: ScrubReport) -> str:
        def one(match: re.Match[str]) -> str:
            if match[0] not in self._words:
                return match[0]
            report.replaced["NAME"] += 1
            return self._words[match[0]]

        return re.sub(r"[^\W\d_]+", one, text) if self._words else text


def _apart(finds: Sequence[Find]) -> list[Find]:
    """Return finds that do not overlap, in their order."""
    kept: list[Find] = []
    for item in sorted(finds, key=lambda one: (one.start - one.end, -KINDS.index(one.kind), one.start)):
        if item.start < item.end and all(item.end <= other.start or other.end <= item.start for other in kept):
            kept.append(item)
    return sorted(kept, key=lambda one: one.start)


def _plain(value: str) -> str:
    return re.sub(r"[\W_]+", "", value).casefold()
