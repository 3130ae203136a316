"""Replaces personal data in conversations: the same person, number or address gets the same placeholder throughout a conversation."""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from core.fingerprint import fingerprint
from core.records import Exchange, Transcript

KINDS = ("NAME", "E-MAIL", "PHONE", "ADDRESS", "DATE OF BIRTH", "ID", "ACCOUNT")
"""Kinds of personal data, in ascending order of precedence. If two finds overlap, the longer one is used, or of equally long ones the later kind."""


@dataclass(frozen=True)
class Find:
    """Personal data in a text, with its kind and its place in characters."""

    kind: str
    start: int
    end: int


Finder = Callable[[str], Sequence[Find]]


@dataclass
class ScrubReport:
    """By kind, the number of replacements and the number of different values. The values themselves are not stored."""

    replaced: Counter[str] = field(default_factory=Counter)
    values: Counter[str] = field(default_factory=Counter)


def scrub(transcript: Transcript, find: Finder, report: ScrubReport) -> Transcript:
    """Replace personal data in a conversation by placeholders such as `[NAME 1]`; a name is replaced in all places where it occurs.

    The persona, the system prompt and what the file claims about itself are removed, since they are not searched. The file's name is removed and the id is
    replaced by a hash, since both may contain a person's name.

    Args:
        find: returns the personal data in a text.
        report: updated with the counts.
    """
    texts = [transcript.opening or "", *(text for exchange in transcript.exchanges for text in (exchange.user, exchange.assistant))]
    placeholders = _Placeholders()
    finds_by_text = [_without_overlaps(find(text)) for text in texts]
    for text, finds in zip(texts, finds_by_text, strict=True):
        for item in finds:
            placeholders.add(item.kind, text[item.start : item.end])
    cleaned = [placeholders.replaced(text, finds, report) for text, finds in zip(texts, finds_by_text, strict=True)]
    report.values += placeholders.counts
    opening, sides = cleaned[0], cleaned[1:]
    exchanges = [Exchange(exchange_number=number // 2 + 1, user=sides[number], assistant=sides[number + 1]) for number in range(0, len(sides), 2)]
    provenance = {name: value for name, value in transcript.provenance.items() if name in ("seed", "reading")}
    name = f"conversation-{fingerprint(transcript.id)}"
    return transcript.model_copy(
        update={"id": name, "exchanges": exchanges, "opening": opening or None, "persona": None, "system": None, "provenance": provenance}
    )


class _Placeholders:
    """The personal data of a conversation, and their placeholders."""

    def __init__(self) -> None:
        self.counts = Counter[str]()
        self._placeholders: dict[tuple[str, str], str] = {}
        self._words: dict[str, str] = {}

    def add(self, kind: str, value: str) -> str:
        """Return the placeholder of a value; a single word of a known name has that name's placeholder."""
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
        """Return a text in which the finds, and names that were found in other texts, are replaced."""
        parts, place = list[str](), 0
        for item in finds:
            parts += [self._names(text[place : item.start], report), self.add(item.kind, text[item.start : item.end])]
            report.replaced[item.kind] += 1
            place = item.end
        return "".join([*parts, self._names(text[place:], report)])

    def _names(self, text: str, report: ScrubReport) -> str:
        def replace(match: re.Match[str]) -> str:
            if match[0] not in self._words:
                return match[0]
            report.replaced["NAME"] += 1
            return self._words[match[0]]

        return re.sub(r"[^\W\d_]+", replace, text) if self._words else text


def _without_overlaps(finds: Sequence[Find]) -> list[Find]:
    """Return finds that do not overlap, sorted by their place."""
    kept: list[Find] = []
    for item in sorted(finds, key=lambda find: (find.start - find.end, -KINDS.index(find.kind), find.start)):
        if item.start < item.end and all(item.end <= other.start or other.end <= item.start for other in kept):
            kept.append(item)
    return sorted(kept, key=lambda find: find.start)


def _plain(value: str) -> str:
    return re.sub(r"[\W_]+", "", value).casefold()
