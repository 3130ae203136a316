"""How often topics and flaws occur in the transcripts to train on, compared with the taxonomy's weights."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from core.judging.intervals import wilson_interval
from core.packs.pack import Pack
from core.packs.word_search import place_of, plain
from core.records import Transcript

PLACES = {"topic": (("topics", "topic_seeds"), "category"), "flaw": (("flaws", "flaw_patterns"), "name")}
"""By kind, the fields of a persona that list its topics or flaws (our name, then the forerunner's), and the key of an item's name."""


@dataclass(frozen=True)
class Counted:
    """A count and the total that it is a part of."""

    count: int
    of: int

    @property
    def share(self) -> float | None:
        """The count divided by the total; None if the total is 0."""
        return self.count / self.of if self.of else None

    def as_text(self, what: str = "") -> str:
        """Return the count as text, such as `41 of 60 transcripts (68 %)`."""
        return f"{self.count:,} of {self.of:,}" + (f" {what}" if what else "") + ("" if self.share is None else f" ({100 * self.share:.0f} %)")


@dataclass(frozen=True)
class Covered:
    """How often a topic or flaw occurs among the personas that name their topics.

    Args:
        kind: `topic` or `flaw`.
        weight: the share that the taxonomy gives it; 0 for a name that the taxonomy lacks.
        got: occurrences, of all topics or all flaws of these personas.
    """

    kind: str
    name: str
    weight: float
    got: Counted

    @property
    def due(self) -> float:
        """The number of occurrences that its weight calls for; which topics tend to occur together is ignored."""
        return self.weight * self.got.of


class CoverageTally:
    """Counts the topics and flaws of personas; for a persona that names no topics, it counts the topics that the user's messages mention."""

    def __init__(self, pack: Pack) -> None:
        groups = pack.taxonomy.topics
        flaws = {name: kind.weight for name, kind in pack.flaws.kinds.items()}
        self._weights = {"topic": {name: group.weight for name, group in groups.items()}, "flaw": flaws}
        self._words = {name: tuple(word for topic in group.subtopics.values() for word in topic.words) for name, group in groups.items()}
        self._got: dict[str, Counter[str]] = defaultdict(Counter)
        self._mentioned, self._messages, self._transcripts, self._known = Counter[str](), 0, 0, 0

    def add(self, transcript: Transcript) -> None:
        """Add a transcript to the counts."""
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
        """Transcripts whose persona names its topics."""
        return Counted(self._known, self._transcripts)

    def covered(self) -> list[Covered]:
        """Return a row for each topic and flaw of the taxonomy, and for each other one that occurs; empty if no persona names its topics."""
        rows = []
        for kind, weights in self._weights.items():
            got = self._got[kind]
            names = [*weights, *sorted(set(got) - set(weights))]
            rows += [Covered(kind, name, weights.get(name, 0.0), Counted(got[name], got.total())) for name in names]
        return rows if self._known else []

    def mentioned(self) -> dict[str, Counted]:
        """Return by topic the messages that mention it, in the transcripts whose persona names no topics."""
        return {name: Counted(self._mentioned[name], self._messages) for name in self._words} if self._messages else {}


@dataclass(frozen=True)
class Deviation:
    """The topics, or the flaws, that are missing, too rare or too frequent.

    Args:
        kind: `topic` or `flaw`.
        total: number of topics or flaws of the personas.
        foreign: number of these whose names are not in the taxonomy.
    """

    kind: str
    total: int
    foreign: int
    missing: list[Covered]
    rare: list[Covered]
    frequent: list[Covered]


def deviations(rows: Sequence[Covered], by: float) -> list[Deviation]:
    """Return by kind what is missing, too rare or too frequent.

    A name outside the taxonomy may be a synonym of any name in it. A topic is therefore missing or rare only if all such names together could not make up
    for it.

    Args:
        by: largest relative deviation of a share from its weight. A weight within the 95 % interval around the share is no fault either.
    """
    result = []
    for kind in PLACES:
        own = [row for row in rows if row.kind == kind and row.weight]
        foreign = sum(row.got.count for row in rows if row.kind == kind and not row.weight)
        total = own[0].got.of if own else 0
        low = [row for row in own if total and _below(row, row.got.count + foreign, by)]
        frequent = [row for row in own if total and _above(row, by)]
        result.append(Deviation(kind, total, foreign, [row for row in low if not row.got.count], [row for row in low if row.got.count], frequent))
    return result


def _below(row: Covered, most: int, by: float) -> bool:
    return most / row.got.of < (1 - by) * row.weight and wilson_interval(most, row.got.of)[1] < row.weight


def _above(row: Covered, by: float) -> bool:
    return row.got.count / row.got.of > (1 + by) * row.weight and wilson_interval(row.got.count, row.got.of)[0] > row.weight


def _named(transcript: Transcript, kind: str) -> list[str]:
    """Return the names of a persona's topics or flaws, whichever form the persona has."""
    places, key = PLACES[kind]
    persona = transcript.persona or {}
    items = next((persona[place] for place in places if isinstance(persona.get(place), list)), [])
    return [item[key] for item in items if isinstance(item, dict) and isinstance(item.get(key), str)]
