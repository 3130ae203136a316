"""The limits a provider enforces: token buckets or fixed windows, per account and model."""

from dataclasses import dataclass

from tests.stub.settings import Settings


class Bucket:
    """A token bucket that may be overdrawn, as output is only known when it is written."""

    def __init__(self, per_minute: float, capacity: float, now: float) -> None:
        self.rate, self.capacity, self.level, self.stamp = per_minute / 60, capacity, capacity, now

    def left(self, now: float) -> float:
        """Return what can be taken now."""
        self.level = min(self.capacity, self.level + (now - self.stamp) * self.rate)
        self.stamp = now
        return self.level

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount can be taken; what is more than the bucket holds waits for a full one."""
        return max(0.0, (min(amount, self.capacity) - self.left(now)) / self.rate)

    def take(self, amount: float, now: float) -> None:
        """Take an amount, whether it is there or not."""
        self.level = self.left(now) - amount

    def full_in(self, now: float) -> float:
        """Return the seconds until nothing is missing."""
        return (self.capacity - self.left(now)) / self.rate


class Window:
    """A count that is reset after a fixed number of seconds."""

    def __init__(self, per_minute: float, seconds: float, now: float) -> None:
        self.capacity, self.seconds, self.used, self.start = per_minute * seconds / 60, seconds, 0.0, now

    def left(self, now: float) -> float:
        """Return what can be taken now."""
        passed = int((now - self.start) / self.seconds)
        if passed:
            self.start, self.used = self.start + passed * self.seconds, 0.0
        return self.capacity - self.used

    def wait(self, amount: float, now: float) -> float:
        """Return the seconds until an amount can be taken; what is more than a window allows waits for a new one."""
        return self.full_in(now) if self.left(now) < min(amount, self.capacity) else 0.0

    def take(self, amount: float, now: float) -> None:
        """Take an amount, whether it is there or not."""
        self.left(now)
        self.used += amount

    def full_in(self, now: float) -> float:
        """Return the seconds until the next window."""
        self.left(now)
        return self.start + self.seconds - now


@dataclass(frozen=True, slots=True)
class State:
    """Where one limit stands."""

    name: str
    limit: float
    left: float
    full_in: float


@dataclass(frozen=True, slots=True)
class Exceeded:
    """The limit that a call would break, and the seconds until it would not."""

    name: str
    limit: float
    wait: float


class Limits:
    """All limits of one account and model."""

    def __init__(self, settings: Settings, now: float) -> None:
        rates = {
            "requests": settings.requests_per_minute,
            "input_tokens": settings.input_tokens_per_minute,
            "output_tokens": settings.output_tokens_per_minute,
            "tokens": settings.tokens_per_minute,
        }
        self.rates = {name: rate for name, rate in rates.items() if rate}
        self.meters = {name: _meter(settings, name, rate, now) for name, rate in self.rates.items()}
        self.in_service = 0

    def admit(self, now: float, counted_input: int, all_input: int) -> Exceeded | None:
        """Count a call, or say which limit forbids it (of several, the one that lasts longest).

        Args:
            counted_input: tokens that count towards the input limit.
            all_input: tokens that count towards the combined limit.
        """
        asked = {"requests": 1, "input_tokens": counted_input, "output_tokens": 1, "tokens": all_input}
        waits = [(meter.wait(asked[name], now), name) for name, meter in self.meters.items()]
        wait, name = max(waits, default=(0.0, ""))
        if wait > 0:
            return Exceeded(name, self.rates[name], wait)
        for name, meter in self.meters.items():
            if name != "output_tokens":
                meter.take(asked[name], now)
        return None

    def settle(self, now: float, output: int) -> None:
        """Count what was written."""
        for name in ("output_tokens", "tokens"):
            if name in self.meters:
                self.meters[name].take(output, now)

    def states(self, now: float) -> list[State]:
        """Return where each limit stands, for the headers."""
        return [State(name, self.rates[name], max(0.0, meter.left(now)), max(0.0, meter.full_in(now))) for name, meter in self.meters.items()]


def _meter(settings: Settings, name: str, rate: float, now: float) -> Bucket | Window:
    if settings.window == "fixed":
        return Window(rate, settings.window_s, now)
    if name == "requests" and settings.burst_requests is not None:
        return Bucket(rate, settings.burst_requests, now)
    return Bucket(rate, rate / 60 * (60 if settings.burst is None else settings.burst), now)
