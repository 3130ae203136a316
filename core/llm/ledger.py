"""A run's bill, which all its processes write together below the data root, and the budget, which they keep together.

What a call can cost at most is set aside in the line that says that it is sent, before it is sent. It counts until a line says what came of the call;
of a call whose process was killed none ever does. Docs: docs/costs.md.
"""

import asyncio
import os
import secrets
import socket
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from core.errors import BudgetError, SettingsError
from core.llm.chat import ChatRequest, Usage
from core.processes import is_running
from core.settings.models import Budget
from core.storage.json_lines import read_objects
from core.storage.shared_log import Line, open_shared_log
from core.storage.store import Store

LOG = "calls"
"""Name of the log in a run's folder."""

SENT = "sent"
"""Outcome of a call of which nothing is known yet."""

POLL_SECONDS = 0.5
"""Interval at which a call that waits for the budget looks at what other processes have spent."""

GRACE_SECONDS = 30.0
"""For which a call may be written down later than its deadline."""

MOST = 2.0**53
"""Of a count or an amount: a greater one is damage."""

COUNTS = ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens")

PROCESS = (socket.gethostname(), os.getpid(), secrets.token_hex(4))
"""This process; the last tells it from one before it that had its number."""


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
        self.usd += _amount(entry.get("usd"))
        for name in COUNTS:
            setattr(self, name, getattr(self, name) + int(_amount(entry.get(name))))

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        cached = f" ({self.cache_read_tokens / self.input_tokens:.0%} from the cache)" if self.cache_read_tokens else ""
        doubts = [f"{self.estimated:,} calls estimated"] * bool(self.estimated) + [f"{self.unpriced:,} calls of unknown price"] * bool(self.unpriced)
        totals = f"{self.calls:,} calls, {self.input_tokens:,} tokens in{cached}, {self.output_tokens:,} out, {self.usd:.4f} USD"
        return f"{totals} ({', '.join(doubts)})" if doubts else totals


@dataclass(frozen=True)
class Sent:
    """A call for which the most that it can cost is set aside."""

    call: str
    request: ChatRequest
    model: str
    most: Usage
    usd: float | None


@dataclass
class Ledger:
    """The bill of one run, which may be stopped and resumed any number of times, and may have several processes.

    Args:
        run: names the run: the same command has the same run, and so has each shard of it.
        budget: what it may cost in all.
    """

    store: Store
    run: str
    budget: Budget
    surprises: dict[str, Usage] = field(default_factory=dict)
    """By how much calls of a model went beyond what was set aside for them."""

    def __post_init__(self) -> None:
        """Read what the run has cost before."""
        self._log = open_shared_log(self.store, f"ledger/{self.run}/{LOG}")
        self._settled = Bill()
        self._open: dict[str, Line] = {}
        self._mine: set[str] = set()
        self._done: set[str] = set()
        self._writer = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{'-'.join(map(str, PROCESS))}-{time.monotonic_ns() % 10**6:06d}"
        self._count = 0
        self._changed = asyncio.Event()
        self._exchange(None)

    @property
    def bill(self) -> Bill:
        """What the run has cost, as far as this process knows; its own calls under way are not among it."""
        bill = replace(self._settled)
        for call, line in self._open.items():
            if call not in self._mine or not self._is_under_way(line):
                bill.add(_charged(line))
        return bill

    @property
    def used(self) -> float:
        """Share of the budget that is spent: of the money or of the tokens, whichever is more."""
        bill = self.bill
        limits = [(bill.usd, self.budget.usd), (bill.tokens, self.budget.tokens)]
        return max((spent / limit if limit else float(spent > 0) for spent, limit in limits if limit is not None), default=0.0)

    async def reserve(self, request: ChatRequest, model: str, most: Usage, usd: float | None, seconds: float) -> Sent:
        """Set the most that a call can cost aside and write down that it is sent; wait where calls under way hold what is left of the budget.

        Args:
            most: tokens; usd: their price.
            seconds: after which the call is given up.

        Raises:
            BudgetError: the call could exceed the budget.
            SettingsError: there is a budget in USD and the model has no price.
            StoreError: the data root cannot be written.
        """
        if usd is None and self.budget.usd is not None:
            raise SettingsError("The model has no known price, so budget.usd cannot be kept. Give models.<model>.price, or set budget.tokens instead.")
        self._count += 1
        sent = Sent(f"{self._writer}-{self._count}", request, model, most, usd)
        line = self._line(sent, SENT) | {
            "most": {"input_tokens": most.input_tokens, "output_tokens": most.output_tokens, "usd": usd},
            "beyond": self._beyond(model),
            "process": PROCESS,
            "until": round(time.time() + seconds + GRACE_SECONDS),
        }
        while not self._exchange(line, lambda: self._fits(sent, self._open.values())):
            if not self._fits(sent, [held for held in self._open.values() if not self._is_under_way(held)]):
                raise BudgetError(self._spent(sent))
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()
        self._mine.add(sent.call)
        return sent

    def record(
        self, sent: Sent, outcome: str, seconds: float, usage: Usage | None, usd: float | None, prices: str | None, request_id: str | None = None
    ) -> None:
        """Write down what came of a call, which gives back what was set aside for it.

        Args:
            outcome: `ok`, or the name of the error.
            usage: what it is charged with; none for a call that costs nothing.
            prices: which price data `usd` rests on.

        Raises:
            StoreError: the data root cannot be written; the call stays charged with the most that it can cost.
        """
        line = self._line(sent, outcome) | {
            "seconds": round(seconds, 3),
            "request_id": request_id,
            **{name: getattr(usage, name) if usage else None for name in COUNTS},
            "usd": usd,
            "prices": prices,
            "usage": dict(usage.raw) if usage else None,
        }
        try:
            self._exchange(line | {"estimated": True} if usage and usage.estimated else line)
        finally:
            self._mine.discard(sent.call)
            self._changed.set()

    def _line(self, sent: Sent, outcome: str) -> Line:
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        named = {"call": sent.call, "at": at, "run": self.run, "role": sent.request.role, "item": sent.request.item, "model": sent.model}
        return {**named, "outcome": outcome}

    def _exchange(self, line: Line | None, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Take in what other processes wrote, and write a line if it is still wanted then; say whether it was."""
        written = False

        def decide(news: Sequence[Line]) -> Line | None:
            nonlocal written
            for other in news:
                self._take(other)
            written = line is not None and wanted()
            return line if written else None

        self._log.exchange(decide)
        if written and line is not None:
            self._take(line)
        return written

    def _take(self, line: Line) -> None:
        if not _is_entry(line) or line["call"] in self._done:
            return
        if line["outcome"] == SENT:
            self._open[line["call"]] = line
            return
        self._done.add(line["call"])
        self._settled.add(line)
        sent = self._open.pop(line["call"], None)
        if sent and line.get("estimated") is not True:
            self._learn(_charged(sent), line)

    def _learn(self, most: Line, line: Line) -> None:
        """Note by how much a call went beyond what was set aside for it, so that more is set aside for the next."""
        over = [int(_amount(line.get(name)) - _amount(most.get(name))) for name in ("input_tokens", "output_tokens")]
        if max(over) > 0:
            beyond = [max(old, was + max(0, more)) for old, was, more in zip(self._beyond(line["model"]), most["beyond"], over, strict=True)]
            self.surprises[line["model"]] = Usage(beyond[0], beyond[1])

    def _beyond(self, model: str) -> tuple[int, int]:
        known = self.surprises.get(model, Usage())
        return known.input_tokens, known.output_tokens

    def _fits(self, sent: Sent, held: Iterable[Line]) -> bool:
        bill = replace(self._settled)
        for line in held:
            bill.add(_charged(line))
        in_usd = self.budget.usd is None or bill.usd + (sent.usd or 0.0) <= self.budget.usd
        in_tokens = self.budget.tokens is None or bill.tokens + sent.most.input_tokens + sent.most.output_tokens <= self.budget.tokens
        return in_usd and in_tokens

    def _is_under_way(self, line: Line) -> bool:
        """Say whether an answer to a call may still come."""
        if time.time() > line["until"]:
            return False
        if line["call"].startswith(self._writer):
            return line["call"] in self._mine
        host, pid, mark = line["process"]
        return host != PROCESS[0] or (mark == PROCESS[2] if pid == PROCESS[1] else is_running(pid))

    def _spent(self, sent: Sent) -> str:
        bill = self.bill
        limits = [f"{bill.usd:.4f} of {self.budget.usd:g} USD"] if self.budget.usd is not None else []
        limits += [f"{bill.tokens:,} of {self.budget.tokens:,} tokens"] if self.budget.tokens is not None else []
        doubt = f" ({bill.estimated:,} calls estimated)" if bill.estimated else ""
        tokens = sent.most.input_tokens + sent.most.output_tokens
        return (
            f"Budget reached: this run has used {' and '.join(limits)}{doubt}, and the next call may take {sent.usd or 0.0:.4f} USD and {tokens:,} tokens. "
            "Raise budget in the settings and run the same command again: what was made is kept."
        )


def read_entries(store: Store, run: str) -> list[Line]:
    """Return the calls of a run, in the order in which they were sent: what came of each, or where no one knows, the most that it can have taken.

    A line that is damaged is left out.
    """
    found: dict[str, Line] = {}
    for name in store.names(f"ledger/{run}", ".jsonl"):
        for line in read_objects(store.read_bytes(name)):
            if _is_entry(line) and found.get(line["call"], line | {"outcome": SENT})["outcome"] == SENT:
                found[line["call"]] = line
    return [_charged(line) for line in found.values()]


def bills(store: Store, run: str, wanted: Callable[[str], bool] = lambda _: True) -> dict[tuple[str, str], Bill]:
    """Return what each role and model of a run cost.

    Args:
        wanted: says of a transcript's id, or of whatever else a call was for, whether it belongs to the bill.
    """
    found: dict[tuple[str, str], Bill] = defaultdict(Bill)
    for entry in read_entries(store, run):
        if wanted(entry["item"]):
            found[entry["role"], entry["model"]].add(entry)
    return dict(sorted(found.items()))


def _is_entry(line: Line) -> bool:
    """Say whether a line has what an entry of the ledger has."""
    named = all(isinstance(line.get(name), str) for name in ("call", "role", "item", "model", "outcome"))
    return named and (line["outcome"] != SENT or _is_reservation(line))


def _is_reservation(line: Line) -> bool:
    most, beyond, process, until = (line.get(name) for name in ("most", "beyond", "process", "until"))
    counts = isinstance(beyond, list | tuple) and [type(count) for count in beyond] == [int, int]
    writer = isinstance(process, list | tuple) and [type(part) for part in process] == [str, int, str]
    return isinstance(most, dict) and counts and writer and 0 < process[1] < 2**31 and isinstance(until, int | float)


def _charged(line: Line) -> Line:
    """Return a line with what it is charged with."""
    return line | line["most"] | {"estimated": True} if line["outcome"] == SENT else line


def _amount(value: Any) -> float:
    return float(value) if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < MOST else 0.0
