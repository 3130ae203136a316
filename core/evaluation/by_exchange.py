"""Faults by exchange number, which show whether quality holds to the end of a conversation."""

from collections.abc import Iterable, Mapping, Sequence

from core.records import Assessment, EndReason, Record, Transcript, Verdict

Played = tuple[Transcript, Assessment]
"""A conversation and its assessment."""

BANDS: tuple[tuple[int, int | None], ...] = ((1, 3), (4, 6), (7, 12), (13, 25), (26, None))
"""First and last exchange of each band; later bands are wider, because few conversations are long."""


class Band(Record):
    """A band of exchange numbers in an arm's conversations.

    Args:
        first: first exchange of the band.
        last: last exchange; None for an open band.
        reached: conversations that have the first exchange.
        exchanges: exchanges in the band, over all conversations.
        failures: exchanges that failed verdicts cite, counted once for each verdict.
        lapses: lapses that judges list.
        grave: grave lapses among them.
    """

    first: int
    last: int | None
    reached: int
    exchanges: int
    failures: int
    lapses: int
    grave: int

    @property
    def name(self) -> str:
        """The exchange numbers as text."""
        return f"{self.first}–{self.last}" if self.last else f"{self.first} and on"

    def per_ten(self, count: int) -> float:
        """Return a count per ten exchanges in the band."""
        return 10 * count / self.exchanges


class ByExchange(Record):
    """An arm's faults by exchange number.

    Args:
        failed: failed verdicts.
        citing: failed verdicts that cite an exchange.
        ended: conversations with a known reason for their end.
        cut: conversations that ended because the context was full.
        bands: bands that at least one conversation reached.
    """

    conversations: int
    failed: int
    citing: int
    ended: int
    cut: int
    bands: list[Band]


def by_exchange(conversations: Iterable[tuple[str, Transcript, Assessment]]) -> dict[str, ByExchange]:
    """Return each arm's faults by exchange number.

    Args:
        conversations: (arm, transcript, assessment).
    """
    arms: dict[str, list[Played]] = {}
    for arm, transcript, assessment in conversations:
        arms.setdefault(arm, []).append((transcript, assessment))
    return {arm: _of_arm(played) for arm, played in arms.items()}


def by_band(faults: Mapping[str, ByExchange]) -> list[tuple[str, list[tuple[str, Band]]]]:
    """Return (name of a band, [(arm, band)]) for each band that at least one arm reached, in order."""
    bands: dict[int, list[tuple[str, Band]]] = {}
    for arm, by_number in faults.items():
        for band in by_number.bands:
            bands.setdefault(band.first, []).append((arm, band))
    return [(arms[0][1].name, arms) for _, arms in sorted(bands.items())]


def _of_arm(conversations: Sequence[Played]) -> ByExchange:
    ends = [transcript.end_reason for transcript, _ in conversations]
    failed = [verdict for _, assessment in conversations for verdict in _failed(assessment)]
    bands = [band for first, last in BANDS if (band := _band(conversations, first, last))]
    return ByExchange(
        conversations=len(conversations),
        failed=len(failed),
        citing=sum(bool(verdict.cited) for verdict in failed),
        ended=sum(end is not None for end in ends),
        cut=ends.count(EndReason.BUDGET),
        bands=bands,
    )


def _band(conversations: Sequence[Played], first: int, last: int | None) -> Band | None:
    reached = [(len(transcript.exchanges), assessment) for transcript, assessment in conversations if len(transcript.exchanges) >= first]
    if not reached:
        return None

    def within(number: int) -> bool:
        return first <= number and (last is None or number <= last)

    lapses = [lapse for _, assessment in reached for verdict in assessment.verdicts for lapse in verdict.lapses if within(lapse.exchange)]
    return Band(
        first=first,
        last=last,
        reached=len(reached),
        exchanges=sum(within(number) for length, _ in reached for number in range(first, length + 1)),
        failures=sum(within(number) for _, assessment in reached for verdict in _failed(assessment) for number in set(verdict.cited)),
        lapses=len(lapses),
        grave=sum(lapse.weight == "grave" for lapse in lapses),
    )


def _failed(assessment: Assessment) -> list[Verdict]:
    failed = {*assessment.score.failed_checks, *assessment.score.failed_gates}
    return [verdict for verdict in assessment.verdicts if verdict.criterion in failed]
