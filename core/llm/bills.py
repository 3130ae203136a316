"""What calls amount to, read from the lines of a run's ledger."""

from collections import defaultdict
from collections.abc import Callable, Generator
from dataclasses import dataclass
from typing import Any

from core.llm.settled import SettledCalls
from core.storage.json_lines import read_objects
from core.storage.shared_log import Line
from core.storage.store import Store

SENT = "sent"
"""Outcome of a call of which nothing is known yet."""

MOST = 2.0**53
"""Of a count or an amount: a greater one is damage."""

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")


@dataclass
class Bill:
    """What calls amount to.

    Args:
        calls: sent; unpriced: those of them whose model has no price.
        estimated: those of them that are charged with the most that they can have taken, because no one knows what they took.
        usd: of those that have a price.
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
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        cached = f" ({100 * (self.cache_read_tokens / self.input_tokens):.0f} % from the cache)" if self.cache_read_tokens else ""
        doubts = [f"{self.estimated:,} calls estimated"] * bool(self.estimated) + [f"{self.unpriced:,} calls of unknown price"] * bool(self.unpriced)
        totals = f"{self.calls:,} calls, {self.input_tokens:,} tokens in{cached}, {self.output_tokens:,} out, {self.usd:.4f} USD"
        return f"{totals} ({', '.join(doubts)})" if doubts else totals


def read_entries(store: Store, run: str) -> list[Line]:
    """Return the calls of a run, in the order in which they were sent: what came of each, or where no one knows, the most that it can have taken.

    A line that is damaged is left out.
    """
    found: dict[str, Line] = {}
    for line in _lines(store, run):
        if found.get(line["call"], line | {"outcome": SENT})["outcome"] == SENT:
            found[line["call"]] = line
    return [charged(line) for line in found.values()]


def bills(store: Store, run: str, wanted: Callable[[str], bool] = lambda _: True) -> dict[tuple[str, str], Bill]:
    """Return what each role and model of a run cost; no more is in memory than the calls of which nothing is known.

    Args:
        wanted: says of a transcript's id, or of whatever else a call was for, whether it belongs to the bill.
    """
    found: dict[tuple[str, str], Bill] = defaultdict(Bill)
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
            found[line["role"], line["model"]].add(line)
    for line in still_open.values():
        if wanted(line["item"]):
            found[line["role"], line["model"]].add(charged(line))
    return dict(sorted(found.items()))


def _lines(store: Store, run: str) -> Generator[Line]:
    for name in store.names(f"ledger/{run}", ".jsonl"):
        with store.reading(name) as file:
            for line in file:
                yield from filter(is_entry, read_objects(line.rstrip(b"\n")))


def is_entry(line: Line) -> bool:
    """Say whether a line has what an entry of the ledger has."""
    named = all(isinstance(line.get(name), str) for name in ("call", "role", "item", "model", "outcome"))
    return named and (line["outcome"] != SENT or _is_reservation(line))


def _is_reservation(line: Line) -> bool:
    most, beyond, process, until = (line.get(name) for name in ("most", "beyond", "process", "until"))
    counts = isinstance(beyond, list | tuple) and [type(count) for count in beyond] == [int, int]
    writer = isinstance(process, list | tuple) and [type(part) for part in process] == [str, int, str]
    return isinstance(most, dict) and counts and writer and 0 < process[1] < 2**31 and isinstance(until, int | float)


def charged(line: Line) -> Line:
    """Return a line with what it is charged with."""
    return line | line["most"] | {"estimated": True} if line["outcome"] == SENT else line


def amount(value: Any) -> float:
    """Return a count or an amount of a line; 0 for what is none."""
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST else 0.0
