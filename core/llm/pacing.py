"""Keeping to a rate, and finding one that the provider does not state."""

from collections import deque
from dataclasses import dataclass, field

START_RATE, DOUBLING_SECONDS = 40.0, 0.25
"""Requests a second with which an unknown limit is approached, and how fast that grows until the first refusal (slow start)."""

KEPT, RAISE = 0.95, 1.05
"""Share of the measured limit that is used after a refusal; and how much higher the limit is taken to be each time that more was accepted for a while."""

GROWTH_SECONDS = 4.0
"""The rate doubles in this time, and in twice the time it is sixteen times what it was: gentle where the limit is near, fast where it has gone."""

APPROACH_SECONDS, APPROACH_DOUBLING_SECONDS = 2.0, 0.5
"""After refusals of everything, the former rate is approached in this time, doubling at this interval."""

LEAST_HOLD_SECONDS, ACCEPTED_FOR_A_REFUSAL = 5.0, 150
"""A limit is kept for this long before more is tried, and for as long as it has been the same before; but never longer than until this many requests were
accepted for each refusal. So a burst of refusals is soon forgotten, and a constant limit refuses about 1 %."""

FORMER_SECONDS = 10.0
"""A limit that held for this long is at most halved in one step, and tried again before any higher rate."""

AGREEMENT = 1.3
"""Two measurements that differ by less than this factor are of the same limit."""

PAUSE_SECONDS = 1.0
"""Without a request, although one could be sent; then what was learned of the rate is still kept to, and its next measurement begins."""

REMEMBERED = 1000
"""Requests of which the time is kept: more than are sent in two round trips."""

LEAST_RATE, UNLIMITED = 0.02, 2000.0
"""Requests a second that are always tried; and above which pacing is left off."""

SLACK = 0.1
"""Seconds of allowance that may be used up ahead, so that a late wake-up costs no throughput."""


class Bucket:
    """A rate per second with a little slack (generic cell rate algorithm, ITU-T I.371): what is taken pushes back the time of the next taking."""

    def __init__(self, rate: float, slack: float) -> None:
        """Take units per second, and the seconds that may be used up ahead."""
        self.rate, self.slack = rate, slack
        self.factor = 1.0
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until something may be taken; 0 or less for now."""
        return self._due - self.slack - now

    def take(self, now: float, amount: float) -> None:
        """Use an amount up."""
        self._due = max(self._due, now) + amount / (self.rate * self.factor)

    def correct(self, amount: float) -> None:
        """Use so much more, or less, than was taken before."""
        self._due += amount / (self.rate * self.factor)


@dataclass
class Episode:
    """What happened since the last cut.

    Args:
        began: when.
        sent: the times of the last requests since; before: how many others there were.
        refused: those of all of them that were.
        closed: seconds in which nothing was sent because the provider had asked to wait.
    """

    began: float
    sent: deque[float] = field(default_factory=lambda: deque(maxlen=REMEMBERED))
    before: int = 0
    refused: int = 0
    closed: float = 0.0

    def add(self, now: float) -> None:
        """Count a request."""
        self.before += len(self.sent) == REMEMBERED
        self.sent.append(now)

    def accepted(self, until: float) -> int:
        """Return how many requests that were sent before a time were not refused."""
        return max(0, self.before + sum(at < until for at in self.sent) - self.refused)


class Pace:
    """Finds how many requests a second a provider accepts that states no limit.

    It starts fast and doubles until the first refusal. Each burst of refusals is one cut, to what was accepted since the cut before. That rate is held, the
    longer the more often it was confirmed, and then grows until the next refusal. Growth depends on time and not on requests, so a rate that was cut to
    almost nothing is back as soon as any other. Where nothing at all was accepted since the cut before, the provider refuses whatever comes: that says
    nothing of a rate, and the former one is approached again. The idea is that of TCP CUBIC (RFC 9438), for a rate in place of a window.
    """

    def __init__(self) -> None:
        """Know nothing yet."""
        self.cut = False
        self._base, self._grown = START_RATE, 0.0
        self._taken, self._idle_from, self._opened = 0.0, 0.0, 0.0
        self._episode = Episode(0.0)
        self._limit, self._hold_until = 0.0, 0.0
        self._known_since, self._accepted, self._closed = 0.0, 0, 0.0
        self._growing, self._saved, self._former = (0.0, 0), 0, 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may be sent."""
        rate = self._rate(now)
        return 0.0 if rate >= UNLIMITED else self._taken + 1 / rate - now

    def sent(self, now: float) -> Episode:
        """Count a request; return the episode that it belongs to."""
        rate, idle = self._rate(now), now - self._idle_from
        if idle > max(PAUSE_SECONDS, 2 / rate):  # the provider's allowance is full again: what was accepted before says nothing of the rate
            self._episode = Episode(now, refused=self._episode.refused)
        elif idle <= 2 / rate and (not self.cut or now > self._hold_until):  # the pace is what limits: only then is a higher one tried
            if not self._grown:
                self._growing = now, self._episode.accepted(now)
            self._grown += min(idle, now - self._hold_until) if self.cut else idle
            if self._limit < self._former <= self._rate(now) / KEPT:  # held once before
                self._limit, self._base, self._grown, self._former = self._former, KEPT * self._former, 0.0, 0.0
                self._hold_until = now + LEAST_HOLD_SECONDS
        self._taken = max(self._taken + 1 / rate, now - (min(SLACK, 1 / rate) if self.cut else 0.0))
        self._idle_from = now
        self._episode.add(now)
        return self._episode

    def refused(self, now: float, sent: float, episode: Episode, reopens: float) -> None:
        """Cut, once for each burst: a request that was sent before the last cut says nothing new.

        Args:
            sent: when the request was; episode: that it belongs to.
            reopens: the time until which the provider asks to wait.
        """
        if episode is not self._episode:
            return
        # what was sent as late as this one may be refused as well
        accepted = episode.accepted(sent - (now - sent))
        episode.refused += 1
        if self.cut and not accepted:
            self._opened = reopens + APPROACH_SECONDS
        else:
            self._cut(now, accepted)
        age, worth = now - self._known_since - self._closed, self._episode.refused * ACCEPTED_FOR_A_REFUSAL / self._base
        self._hold_until = max(reopens, self._opened) + min(max(LEAST_HOLD_SECONDS, age), worth)
        self._grown = 0.0
        self._episode = Episode(now, closed=max(0.0, reopens - now))
        self._idle_from = reopens

    def _cut(self, now: float, accepted: int) -> None:
        limit, tried_more = self._measured(now, accepted, self._episode.began, self._episode.closed), self._grown > 0
        if self.cut and limit / AGREEMENT <= self._limit <= limit * AGREEMENT:
            self._accepted, self._closed = self._accepted + accepted, self._closed + self._episode.closed
            limit = self._measured(now, self._accepted, self._known_since, self._closed)
        else:
            if self.cut and now - self._known_since > FORMER_SECONDS:
                self._former, limit = max(self._former, self._limit), max(limit, self._limit / 2)
            self._known_since, self._accepted, self._closed = self._episode.began, accepted, self._episode.closed
        if not self.cut:
            self._saved = accepted
        elif tried_more:  # what was sent below the limit measured nothing: only a refusal at the rate that is held lowers it
            began, before = self._growing
            grown = max(0, accepted - before - self._saved) / max(0.001, now - began)
            limit = max(limit, min(self._rate(now), max(grown, RAISE * self._limit)))
        self._limit = limit
        self.cut, self._base = True, max(LEAST_RATE, KEPT * self._limit)

    def _rate(self, now: float) -> float:
        if not self.cut:
            return min(UNLIMITED, START_RATE * 2 ** min(60.0, self._grown / DOUBLING_SECONDS))
        if now < self._opened:
            return max(min(1.0, self._base), self._base * 2 ** ((now - self._opened) / APPROACH_DOUBLING_SECONDS))
        return min(UNLIMITED, self._base * 2 ** min(60.0, (self._grown / GROWTH_SECONDS) ** 2))

    def _measured(self, now: float, accepted: int, since: float, closed: float) -> float:
        """Return the rate that was accepted since a cut.

        The provider's allowance was empty at both ends, so that what it accepted in between is its limit, known to one request more or less. What it had
        saved up while it was not asked may have been more than it keeps: then only the time in which it was asked counts.
        """
        seconds = max(0.001, now - since)
        most = max((accepted + 1) / seconds, accepted / (seconds - closed) if self._grown and seconds >= 3 * closed else 0.0)
        return min(most, self._rate(now))
