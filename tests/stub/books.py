"""What happened: counts for /stub/stats, entries for /stub/log."""

import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from tests.stub.settings import Settings
from tests.stub.wire import Json, Request, Usage

SECRET_HEADERS = frozenset({"authorization", "x-api-key", "x-goog-api-key"})


@dataclass(slots=True)
class Tally:
    """The counts of one protocol."""

    calls: int = 0
    status: Counter[int] = field(default_factory=Counter)
    """0 stands for a connection closed without a whole answer."""
    in_flight: int = 0
    max_in_flight: int = 0
    first: float | None = None
    last: float | None = None
    tokens: Counter[str] = field(default_factory=Counter)
    billed_input: float = 0.0

    def shown(self) -> Json:
        """Return the counts as JSON data."""
        names = ("input", "uncached", "cache_read", "cache_write", "output")
        return {
            "calls": self.calls,
            "ok": self.status[200],
            "status": {str(status): count for status, count in sorted(self.status.items())},
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "first": self.first,
            "last": self.last,
            "tokens": {name: self.tokens[name] for name in names},
            "billed_input": round(self.billed_input, 6),
        }


class Books:
    """All tallies and the log since the last reset."""

    def __init__(self) -> None:
        self.tallies: dict[str, Tally] = {}
        self.log: list[Json] = []

    def arrived(self, protocol: str, request: Request, settings: Settings, batch: Json | None = None) -> Json:
        """Count a call and return its log entry, whose status is not known yet.

        Args:
            protocol: its name.
            request: as it came.
            settings: whether to log the body and headers.
            batch: that it is a request of, and under which id; it is counted as `<protocol>.batch`.
        """
        protocol = f"{protocol}.batch" if batch else protocol
        tally = self.tallies.setdefault(protocol, Tally())
        entry: Json = {"time": time.time(), "protocol": protocol, "model": None, "status": None, **(batch or {})}
        tally.calls += 1
        tally.first = tally.first or entry["time"]
        if settings.log_bodies:
            entry["headers"] = {name: "(removed)" if name in SECRET_HEADERS else value for name, value in request.headers.items()}
            entry["body"] = None
        self.log.append(entry)
        return entry

    def operated(self, protocol: str, operation: str, name: str) -> Json:
        """Return the log entry of an operation on batches, whose status is not known yet; no tally counts it.

        Args:
            protocol: the provider's.
            operation: its name.
            name: of the batch or file; empty if none.
        """
        entry: Json = {"time": time.time(), "protocol": protocol, "operation": operation, "batch": name, "status": None}
        self.log.append(entry)
        return entry

    def answered(self, entry: Json, status: int) -> None:
        """Record how a call ended.

        Args:
            entry: of the log.
            status: 0 if the connection was closed.
        """
        entry["status"] = status
        tally = self.tallies[entry["protocol"]]
        tally.status[status] += 1
        tally.last = time.time()

    def used(self, protocol: str, usage: Usage, settings: Settings, price: float = 1.0) -> None:
        """Record what an answered call used.

        Args:
            protocol: its name.
            usage: in tokens.
            settings: for the prices.
            price: of the whole call, as a share of a live call's.
        """
        tally = self.tallies[protocol]
        tally.tokens.update(input=usage.input, uncached=usage.fresh, cache_read=usage.read, cache_write=usage.written, output=usage.output)
        written = settings.write_price * (usage.written - usage.written_long) + settings.write_price_long * usage.written_long
        tally.billed_input += price * (usage.fresh + written + settings.read_price * usage.read)

    def shown(self) -> dict[str, Any]:
        """Return all counts, by protocol."""
        return {name: tally.shown() for name, tally in self.tallies.items()}
