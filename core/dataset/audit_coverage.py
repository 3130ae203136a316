"""Topics and flaws of what is trained on, against the taxonomy's weights."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from core.judging.intervals import wilson_interval
from core.packs.pack import Pack
from core.packs.word_search import place_of, plain
from core.records import Transcript

PLACES = {"topic": (("topics", "topic_seeds"), "category"), "flaw": (("flaws", "flaw_patterns"), "name")}
"""Where a persona has its topics and flaws: our names, and the forerunner's."""


@dataclass(frozen=True)
class Counted:
    """A count and what it is of."""

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """The one over the other; none where there is nothing."""
        return self.count / self.of if self.of else None

    def as_text(self, what: str = "") -> str:
        """Say it as `41 of 60 transcripts (68 %)`."""
        return f"{self.count:,} of {self.of:,}" + (f" {what}" if what else "") + ("" if self.share is None else f" ({100 * self.share:.0f} %)")


@dataclass(frozen=True)
class Covered:
    """How often a topic or a flaw came up, of all those of the known personas.

    Args:
        kind: `topic` or `flaw`; weight: the taxonomy's, 0 where it has no such name.
    """

    kind: str
    name: str
    weight: float
    got: Counted

    @property
    def due(self) -> float:
        """How often its weight asks for it. What goes together with what is left aside."""
        return self.weight * self.got.of


class CoverageTally:
    """Counts topics and flaws while the transcripts go by; where a persona is not known, the topics that its messages touch."""

    def __init__(self, pack: Pack) -> None:
        groups = pack.taxonomy.topics
        flaws = {name: kind.weight for name, kind in pack.flaws.kinds.items()}
        self._weights = {"topic": {name: group.weight for name, group in groups.items()}, "flaw": flaws}
        self._words = {name: tuple(word for topic in group.subtopics.values() for word in topic.words) for name, group in groups.items()}
        self._got: dict[str, Counter[str]] = defaultdict(Counter)
        self._mentioned, self._messages, self._transcripts, self._known = Counter[str](), 0, 0, 0

    def add(self, transcript: Transcript) -> None:
        """Count a transcript."""
        self._transcripts += 1
        if topics := _named(transcript, "topic"):
            self._known += 1
            self._got["topic"].update(topics)
            self._got["flaw"].update(_named(transcript, "flaw"))
            return
        messages = [plain(exchange.user) for exchange in transcript.exchanges]
        self._messages += len(messages)
        self._mentioned.update(name for text in messages for name, words in self._words.items() if place_of(words, text) is not None)

    @property
    def known(self) -> Counted:
        """Transcripts whose persona says its topics."""
        return Counted(self._known, self._transcripts)

    def covered(self) -> list[Covered]:
        """Return a row for each topic and flaw of the taxonomy, and for each other one that came up."""
        rows = []
        for kind, weights in self._weights.items():
            got = self._got[kind]
            names = [*weights, *sorted(set(got) - set(weights))]
            rows += [Covered(kind, name, weights.get(name, 0.0), Counted(got[name], got.total())) for name in names]
        return rows if self._known else []

    def mentioned(self) -> dict[str, Counted]:
        """Return for each topic the messages that touch it, of the transcripts whose persona is not known."""
        return {name: Counted(self._mentioned[name], self._messages) for name in self._words} if self._messages else {}


@dataclass(frozen=True)
class Deviation:
    """What of one kind is missing, too rare or too frequent.

    Args:
        kind: `topic` or `flaw`; total: how many the personas have of it, of which `foreign` have names that the taxonomy has not.
    """

    kind: str
    total: int
    foreign: int
    missing: list[Covered]
    rare: list[Covered]
    frequent: list[Covered]


def deviations(rows: Sequence[Covered], by: float) -> list[Deviation]:
    """Return what is missing, too rare or too frequent.

    A name that the taxonomy has not may be another's word for any of those that it has, so that it speaks against nothing being missing or rare.

    Args:
        by: how far a share may lie from the weight, relative to that; what a 95 % interval around the share explains is no fault.
    """
    found = []
    for kind in PLACES:
        own = [row for row in rows if row.kind == kind and row.weight]
        foreign = sum(row.got.count for row in rows if row.kind == kind and not row.weight)
        total = own[0].got.of if own else 0
        low = [row for row in own if total and _below(row, row.got.count + foreign, by)]
        frequent = [row for row in own if total and _above(row, by)]
        found.append(Deviation(kind, total, foreign, [row for row in low if not row.got.count], [row for row in low if row.got.count], frequent))
    return found


def _below(row: Covered, most: int, by: float) -> bool:
    return most / row.got.of < (1 - by) * row.weight and wilson_interval(most, row.got.of)[1] < row.weight


def _above(row: Covered, by: float) -> bool:
    return row.got.count / row.got.of > (1 + by) * row.weight and wilson_interval(row.got.count, row.got.of)[0] > row.weight


def _named(transcript: Transcript, kind: str) -> list[str]:
    """Return a persona's topics or flaws, of whatever form the persona is."""
    places, key = PLACES[kind]
    persona = transcript.persona or {}
    items = next((persona[place] for place in places if isinstance(persona.get(place), list)), [])
    return [item[key] for item in items if isinstance(item, dict) and isinstance(item.get(key), str)]
