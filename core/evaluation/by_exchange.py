"""Where in a conversation faults are found: does quality hold to the end?"""

from collections.abc import Iterable, Mapping, Sequence

from core.records import Assessment, EndReason, Record, Transcript, Verdict

Played = tuple[Transcript, Assessment]
"""A conversation and what was decided of it."""

BANDS: tuple[tuple[int, int | None], ...] = ((1, 3), (4, 6), (7, 12), (13, 25), (26, None))
"""First and last exchange; bands widen, because few conversations are long."""


class Band(Record):
    """A band of exchange numbers in an arm's conversations.

    Args:
        last: none for all from the first on.
        reached: conversations that have the first exchange; exchanges: that they have in the band.
        failures: that a failed verdict cites, once for each verdict and exchange; lapses, grave: that judges list, and the grave ones of them.
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
        """Its exchanges in words."""
        return f"{self.first}–{self.last}" if self.last else f"{self.first} and on"

    def per_ten(self, count: int) -> float:
        """Return a count for each ten exchanges that were played in the band."""
        return 10 * count / self.exchanges


class ByExchange(Record):
    """An arm's faults by exchange number.

    Args:
        failed: verdicts that failed; citing: those of them that cite an exchange.
        ended: conversations whose end is known; cut: those of them that ended because the context was full.
        bands: those that a conversation reached.
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
        conversations: with the arm's name.
    """
    arms: dict[str, list[Played]] = {}
    for arm, transcript, assessment in conversations:
        arms.setdefault(arm, []).append((transcript, assessment))
    return {arm: _of_arm(own) for arm, own in arms.items()}


def by_band(found: Mapping[str, ByExchange]) -> list[tuple[str, list[tuple[str, Band]]]]:
    """Return each band that an arm reached, by name, with the arms that did."""
    bands: dict[int, list[tuple[str, Band]]] = {}
    for arm, one in found.items():
        for band in one.bands:
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
