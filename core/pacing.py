"""Keeping to a rate, and finding one that nobody tells."""

from collections import deque

START_RATE, DOUBLING_SECONDS = 40.0, 0.25
"""Requests a second with which an unknown limit is approached, and how fast that grows until the first refusal."""

CUT, GROWTH, UNSURE = 0.97, 0.001, 5
"""After a refusal: this share of the rate that was measured; then so much more with each request that is accepted, twice as much after two hundred of them,
thrice after four hundred; and so many times that where the measurement may have been too low."""

PATIENCE = 10
"""Where the number of calls at once is limited, one more is tried after so many times that number; twice as many after each time that it was refused."""

ENOUGH = 20
"""Accepted requests from which a rate can be told."""

UNLIMITED = 2000.0
"""A rate above which pacing is left off."""

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


class Search:
    """Finds how many requests a second, or at once, a provider takes that tells no limit.

    It begins fast and speeds up until the first refusal. From then on each burst of refusals is one cut: between two bursts the provider's allowance
    was empty at both ends, so what it accepted in that time is the limit, known to one request more or less. Where it is the number of calls under
    way that is limited, refusals come at the same number each time, and the pause between them says nothing: then that number is kept to, until it
    proves wrong.

    Args:
        most: calls at once that the settings allow.
    """

    def __init__(self, most: int) -> None:
        """Know nothing yet."""
        self.window, self.cut = float(most), False
        self._most = most
        self._pace = Bucket(START_RATE, 0.0)
        self._began: float | None = None
        self._accepted = 0
        self._cuts: deque[tuple[float, int]] = deque(maxlen=6)
        self._beside, self._crowd, self._disproved = 0, 0, False
        self._widen_at, self._patience, self._unsure = 0, PATIENCE, False

    def wait(self, now: float) -> float:
        """Return the seconds until the next request may be sent."""
        if not self.cut:
            self._began = now if self._began is None else self._began
            self._pace.rate = min(UNLIMITED, START_RATE * 2 ** min(60.0, (now - self._began) / DOUBLING_SECONDS))
        return 0.0 if self._pace.rate >= UNLIMITED else self._pace.wait(now)

    def sent(self, now: float, after_pause: bool) -> None:
        """Count a request, as accepted until it is refused.

        Args:
            after_pause: nothing was sent for a while, so that what was accepted before says nothing of the rate.
        """
        if after_pause or not self._cuts:
            self._cuts.clear()
            self._cuts.append((now, self._accepted))
        self._pace.take(now, 1)
        self._accepted += 1

    def refused(self, now: float, sent: float, beside: int, held_until: float) -> None:
        """Cut, once for each burst: a request that was sent before the last cut says nothing new.

        Args:
            sent: when the request was; beside: how many others are under way.
            held_until: the time until which all requests waited before this one.
        """
        self._accepted -= 1
        if self.cut and sent <= self._cuts[-1][0]:
            return
        since = self._accepted - self._cuts[-1][1]
        if beside > 1 and (self._crowd <= beside if self._crowd else beside == self._beside and since <= beside and not self._disproved):
            self._crowd, self.window = beside, float(beside)
            self._widen_at, self._patience = self._accepted + beside * self._patience, 2 * self._patience
        else:
            self._free(disproved=self._crowd > 0)
            self._slow_down(now, held_until)
        if not self.cut:
            self._cuts.clear()  # what was accepted from the start on came out of a full bucket
        self._cuts.append((now, self._accepted))
        self.cut, self._beside = True, beside

    def accepted(self, beside: int) -> None:
        """Try a little more after each request that went well.

        Args:
            beside: how many others were under way when it was sent.
        """
        if not self.cut:
            return
        growth = GROWTH * (UNSURE if self._unsure else 1) * (1 + (self._accepted - self._cuts[-1][1]) / 200)
        self._pace.rate = min(UNLIMITED, self._pace.rate * (1 + growth))
        if self._crowd and beside >= self._crowd:
            self._free(disproved=True)
        elif self._crowd and self._accepted >= self._widen_at:
            self.window = self._crowd + 1.0

    def _slow_down(self, now: float, held_until: float) -> None:
        at, before = next(((at, count) for at, count in reversed(self._cuts) if self._accepted - count >= ENOUGH), self._cuts[0])
        accepted, seconds = max(1, self._accepted - before), max(0.001, now - at)
        rate = CUT * max(accepted / seconds, min(self._pace.rate, (accepted + 1) / seconds))
        self._pace = Bucket(rate, min(SLACK, 1 / rate))
        # a small bucket may have overflowed while all waited: then the rate is higher than what was measured
        self._unsure = self.cut and held_until - self._cuts[-1][0] > 0.5 * seconds

    def _free(self, disproved: bool) -> None:
        """Leave the number of calls at once to the settings again."""
        self._crowd, self.window = 0, float(self._most)
        self._disproved = self._disproved or disproved
