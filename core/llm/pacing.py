"""Keeps calls to a rate, and finds the rate limit of a provider that does not report one."""

from collections import deque
from dataclasses import dataclass, field

START_RATE, DOUBLING_SECONDS = 40.0, 0.25
"""Initial rate for an unknown limit, in requests per second, and the time in which it doubles until the first refusal (slow start)."""

USED_SHARE, RAISE = 0.95, 1.05
"""Share of the measured limit that is used after a refusal; and the factor by which the estimated limit rises whenever more was accepted for a while."""

GROWTH_SECONDS = 4.0
"""The rate doubles in this time and is sixteen times as high after twice the time: slow growth near the limit, fast growth if the limit has disappeared."""

APPROACH_SECONDS, APPROACH_DOUBLING_SECONDS = 2.0, 0.5
"""After every request was refused for some time, the seconds over which the previous rate is restored, and the seconds in which the rate doubles meanwhile."""

MIN_HOLD_SECONDS, ACCEPTED_FOR_A_REFUSAL = 5.0, 150
"""A limit is held for at least this many seconds before more is tried, and for as long as it has been stable already; but only until this many requests were
accepted per refusal. A burst of refusals is thus soon forgotten, and with a constant limit about 1 % of the requests are refused."""

FORMER_SECONDS = 10.0
"""A limit that was stable for this long is at most halved in one step, and is tried again before any higher rate."""

AGREEMENT = 1.3
"""Two measurements that differ by less than this factor are taken for the same limit."""

PAUSE_SECONDS = 1.0
"""Seconds without a request, although one could be sent, after which a new measurement begins; the learned rate stays in use."""

TIMES_KEPT = 1000
"""Number of requests whose times are kept: more than are sent in two round trips."""

MIN_RATE, UNLIMITED = 0.02, 2000.0
"""Lower bound of the rate, in requests per second, and the rate above which requests are not paced."""

SLACK = 0.1
"""Seconds of allowance that may be used in advance, so that a late wake-up costs no throughput."""


class Bucket:
    """A rate per second with a little slack (generic cell rate algorithm, ITU-T I.371): each amount taken postpones the time of the next one."""

    def __init__(self, rate: float, slack: float) -> None:
        """Start with a full allowance.

        Args:
            rate: units per second.
            slack: seconds of allowance that may be used in advance.
        """
        self.rate, self.slack = rate, slack
        self.factor = 1.0
        self._due = 0.0

    def wait(self, now: float) -> float:
        """Return the seconds until something may be taken; 0 or less for now."""
        return self._due - self.slack - now

    def take(self, now: float, amount: float) -> None:
        """Use an amount."""
        self._due = max(self._due, now) + amount / (self.rate * self.factor)

    def correct(self, amount: float) -> None:
        """Correct an earlier `take` by a difference, which is negative if less was used."""
        self._due += amount / (self.rate * self.factor)


@dataclass
class Episode:
    """The requests since the last cut, which is a reduction of the rate.

    Args:
        began: time of the cut.
        sent: times of the latest requests.
        before: number of requests before those in `sent`.
        refused: number of refused requests.
        closed: seconds in which nothing was sent because the provider had asked to wait.
    """

    began: float
    sent: deque[float] = field(default_factory=lambda: deque(maxlen=TIMES_KEPT))
    before: int = 0
    refused: int = 0
    closed: float = 0.0

    def add(self, now: float) -> None:
        """Count a request."""
        self.before += len(self.sent) == TIMES_KEPT
        self.sent.append(now)

    def accepted(self, until: float) -> int:
        """Return the number of requests sent before a time, minus those refused so far."""
        return max(0, self.before + sum(at < until for at in self.sent) - self.refused)


class Pace:
    """Finds how many requests per second a provider accepts that reports no limit.

    The rate starts high and doubles until the first refusal. Each burst of refusals causes one cut, to the rate that was accepted since the previous cut.
    That rate is held, longer each time that it is confirmed, and then grows until the next refusal. Growth depends on time and not on the number of requests,
    so even a rate near zero recovers in the same time. If nothing was accepted since the previous cut, the provider refuses every request; this is no
    measurement of a rate, so the previous rate is restored gradually. The method follows TCP CUBIC (RFC 9438), with a rate instead of a window.
    """

    def __init__(self) -> None:
        """Start without any measurement."""
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
        if idle > max(PAUSE_SECONDS, 2 / rate):  # the provider's allowance is full again, so earlier acceptances no longer measure the rate
            self._episode = Episode(now, refused=self._episode.refused)
        elif idle <= 2 / rate and (not self.cut or now > self._hold_until):  # a higher rate is tried only if the pace is what limits the requests
            if not self._grown:
                self._growing = now, self._episode.accepted(now)
            self._grown += min(idle, now - self._hold_until) if self.cut else idle
            if self._limit < self._former <= self._rate(now) / USED_SHARE:  # the rate has reached an earlier stable limit
                self._limit, self._base, self._grown, self._former = self._former, USED_SHARE * self._former, 0.0, 0.0
                self._hold_until = now + MIN_HOLD_SECONDS
        self._taken = max(self._taken + 1 / rate, now - (min(SLACK, 1 / rate) if self.cut else 0.0))
        self._idle_from = now
        self._episode.add(now)
        return self._episode

    def refused(self, now: float, sent: float, episode: Episode, reopens: float) -> None:
        """Reduce the rate, once per burst: the refusal of a request that was sent before the last cut is ignored.

        Args:
            now: the current time in seconds.
            sent: time of sending of the refused request.
            episode: the episode that the request belongs to.
            reopens: the time until which the provider asks to wait.
        """
        if episode is not self._episode:
            return
        # the answers to requests sent within one round trip before this one may not have arrived, and may be refusals too
        accepted = episode.accepted(sent - (now - sent))
        episode.refused += 1
        if self.cut and not accepted:
            self._opened = reopens + APPROACH_SECONDS
        else:
            self._cut(now, accepted)
        age, worth = now - self._known_since - self._closed, self._episode.refused * ACCEPTED_FOR_A_REFUSAL / self._base
        self._hold_until = max(reopens, self._opened) + min(max(MIN_HOLD_SECONDS, age), worth)
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
        elif tried_more:  # requests below the limit measure nothing: only a refusal at the held rate lowers the limit
            began, before = self._growing
            grown = max(0, accepted - before - self._saved) / max(0.001, now - began)
            limit = max(limit, min(self._rate(now), max(grown, RAISE * self._limit)))
        self._limit = limit
        self.cut, self._base = True, max(MIN_RATE, USED_SHARE * self._limit)

    def _rate(self, now: float) -> float:
        if not self.cut:
            return min(UNLIMITED, START_RATE * 2 ** min(60.0, self._grown / DOUBLING_SECONDS))
        if now < self._opened:
            return max(min(1.0, self._base), self._base * 2 ** ((now - self._opened) / APPROACH_DOUBLING_SECONDS))
        return min(UNLIMITED, self._base * 2 ** min(60.0, (self._grown / GROWTH_SECONDS) ** 2))

    def _measured(self, now: float, accepted: int, since: float, closed: float) -> float:
        """Return the rate accepted since a cut, in requests per second.

        The provider's allowance was empty at both ends of the interval, so the number accepted in between is its limit, to within one request. While nothing
        was sent, the allowance may have reached its maximum and stopped growing; then only the time in which requests were sent counts.
        """
        seconds = max(0.001, now - since)
        most = max((accepted + 1) / seconds, accepted / (seconds - closed) if self._grown and seconds >= 3 * closed else 0.0)
        return min(most, self._rate(now))
