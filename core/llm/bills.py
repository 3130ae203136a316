"""Adds up the calls of a run, read from the lines of its ledger."""

from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from core.llm.settled import SettledCalls
from core.storage.json_lines import read_objects
from core.storage.shared_log import Line
from core.storage.store import Store

SENT = "sent"
"""Outcome of a call that was sent and whose result is not known yet."""

MAX_AMOUNT = 2.0**53
"""Upper bound of a count or an amount in a line; a larger one is damage."""

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


@dataclass
class Bill:
    """The totals of calls.

    Args:
        calls: number of calls sent.
        unpriced: number of calls whose model has no known price.
        estimated: number of calls charged with the maximum that they can have used, because their actual usage is unknown.
        input_tokens, cache_read_tokens, cache_write_tokens, output_tokens: totals of the calls' usage.
        usd: cost in USD of the calls with a known price.
    """

    calls: int = 0
    unpriced: int = 0
    estimated: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    def add(self, entry: Line) -> None:
        """Add an entry of the ledger."""
        self.calls += 1
        self.unpriced += entry.get("usd") is None
        self.estimated += entry.get("estimated") is True
        self.usd += amount(entry.get("usd"))
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + int(amount(entry.get(name))))

    @property
    def tokens(self) -> int:
        """Input and output tokens together."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        cached = f" ({100 * (self.cache_read_tokens / self.input_tokens):.0f} % from the cache)" if self.cache_read_tokens else ""
        doubts = [f"{self.estimated:,} calls estimated"] * bool(self.estimated) + [f"{self.unpriced:,} calls of unknown price"] * bool(self.unpriced)
        totals = f"{self.calls:,} calls, {self.input_tokens:,} tokens in{cached}, {self.output_tokens:,} out, {self.usd:.4f} USD"
        return f"{totals} ({', '.join(doubts)})" if doubts else totals


def read_entries(store: Store, run: str) -> list[Line]:
    """Return one line per call of a run, in the order of sending: its result or, if that is unknown, the maximum that it can have used.

    Damaged lines are skipped.
    """
    by_call: dict[str, Line] = {}
    for line in _lines(store, run):
        if by_call.get(line["call"], line | {"outcome": SENT})["outcome"] == SENT:
            by_call[line["call"]] = line
    return [charged(line) for line in by_call.values()]


def bills(store: Store, run: str, wanted: Callable[[str], bool] = lambda _: True) -> dict[tuple[str, str], Bill]:
    """Return the bill of each role and model of a run. Only the calls without a known result are held in memory.

    Args:
        wanted: returns whether a call belongs to the bill, given the call's item, which is usually the id of a transcript.
    """
    totals: dict[tuple[str, str], Bill] = defaultdict(Bill)
    settled, still_open = SettledCalls(), dict[str, Line]()
    for line in _lines(store, run):
        if line["call"] in settled:
            continue
        if line["outcome"] == SENT:
            still_open[line["call"]] = line
            continue
        settled.add(line["call"])
        still_open.pop(line["call"], None)
        if wanted(line["item"]):
            totals[line["role"], line["model"]].add(line)
    for line in still_open.values():
        if wanted(line["item"]):
            totals[line["role"], line["model"]].add(charged(line))
    return dict(sorted(totals.items()))


def _lines(store: Store, run: str) -> Generator[Line]:
    for name in store.names(f"ledger/{run}", ".jsonl"):
        with store.reading(name) as file:
            for line in file:
                yield from filter(is_entry, read_objects(line.rstrip(b"\n")))


def is_entry(line: Line) -> bool:
    """Return whether a line has the fields of a ledger entry."""
    has_names = all(isinstance(line.get(name), str) for name in ("call", "role", "item", "model", "outcome"))
    return has_names and (line["outcome"] != SENT or _is_reservation(line))


def _is_reservation(line: Line) -> bool:
    most, beyond, process, until = (line.get(name) for name in ("most", "beyond", "process", "until"))
    counts = isinstance(beyond, list | tuple) and [type(count) for count in beyond] == [int, int]
    writer = isinstance(process, list | tuple) and [type(part) for part in process] == [str, int, str]
    return isinstance(most, dict) and counts and writer and 0 < process[1] < 2**31 and isinstance(until, int | float)


def charged(line: Line) -> Line:
    """Return a line with its charge: for a call without a known result, the maximum that was reserved for it."""
    return line | line["most"] | {"estimated": True} if line["outcome"] == SENT else line


def amount(value: Any) -> float:
    """Return a count or an amount of a line; 0 for an invalid value."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MAX_AMOUNT else 0.0
