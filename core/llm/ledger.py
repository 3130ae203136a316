"""The bill of a run, which all its processes share below the data root, and its budget, which they keep together.

Before a call is sent, a line of the bill reserves the maximum that it can cost. The reservation counts as spent until another line has the result of the
call; if the process was killed, that line never comes. Docs: docs/costs.md.
"""

import asyncio
import os
import secrets
import socket
import time
from collections.abc import Callable, Collection, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from core.errors import BudgetError, SettingsError
from core.llm.bills import COUNTS, SENT, Bill, amount, charged, is_entry
from core.llm.chat import ChatRequest, Usage
from core.llm.settled import SettledCalls
from core.processes import is_running
from core.settings.models import Budget
from core.storage.shared_log import Line, open_shared_log
from core.storage.store import Store

LOG = "calls"
"""Name of the log in a run's folder."""

POLL_SECONDS = 0.5
"""Interval in seconds at which a call that waits for the budget reads what other processes have spent."""

GRACE_SECONDS = 30.0
"""Seconds after its deadline within which the result of a call may still be recorded."""

PROCESS = (socket.gethostname(), os.getpid(), secrets.token_hex(4))
"""This process: host, process ID, and a random mark that distinguishes it from an earlier process with the same ID."""


@dataclass(frozen=True)
class Sent:
    """A call for which the maximum cost is reserved.

    Args:
        call: unique name of the call.
        request: the request.
        model: `provider/model`.
        most: reserved tokens.
        usd: reserved money in USD; None if the price is unknown.
    """

    call: str
    request: ChatRequest
    model: str
    most: Usage
    usd: float | None


@dataclass
class Ledger:
    """The bill of one run, which may be stopped and resumed any number of times and may have several processes.

    Args:
        store: the data root.
        run: name of the run; the same command, and each of its shards, has the same one.
        budget: limits of the run's total cost.
    """

    store: Store
    run: str
    budget: Budget
    surprises: dict[str, Usage] = field(default_factory=dict)
    """By model, the largest excess of a call's usage over its reservation, in tokens."""

    def __post_init__(self) -> None:
        """Read the run's earlier costs."""
        self._log = open_shared_log(self.store, f"ledger/{self.run}/{LOG}")
        self._settled = Bill()
        self._open: dict[str, Line] = {}
        self._held: dict[str, tuple[float, int]] = {}  # USD and tokens of each open call, which are summed for every new call
        self._mine: set[str] = set()
        self._done = SettledCalls()
        self._writer = f"{datetime.now(UTC):%Y%m%dT%H%M%S}-{'-'.join(map(str, PROCESS))}-{time.monotonic_ns() % 10**6:06d}"
        self._count = self._strange = 0
        self._changed = asyncio.Event()
        self._exchange(None)

    @property
    def bill(self) -> Bill:
        """The cost of the run as far as this process knows, without its own calls under way."""
        bill = replace(self._settled)
        for call, line in self._open.items():
            if call not in self._mine or not self._is_under_way(line):
                bill.add(charged(line))
        return bill

    @property
    def damage(self) -> str | None:
        """A message about unreadable or missing lines of the bill; None if there are none."""
        count, lost = self._log.damaged + self._strange, self._log.lost
        faults = [f"{count} of its lines are not valid calls"] * bool(count) + [f"it lacks {lost} of what was written to it"] * bool(lost)
        if not faults:
            return None
        return (
            f"{self.store.root}/ledger/{self.run} is damaged: {' and '.join(faults)}, and the bill and the budget lack their cost. "
            "Restore the file from a copy, or lower the budget by the missing amount."
        )

    @property
    def used(self) -> float:
        """Spent share of the budget, from 0: that of the money or that of the tokens, whichever is larger."""
        bill = self.bill
        limits = [(bill.usd, self.budget.usd), (bill.tokens, self.budget.tokens)]
        return max((spent / limit if limit else float(spent > 0) for spent, limit in limits if limit is not None), default=0.0)

    async def reserve(self, request: ChatRequest, model: str, most: Usage, usd: float | None, seconds: float | None, name: str | None = None) -> Sent:
        """Reserve the maximum cost of a call and record that it is sent; wait while calls under way hold the rest of the budget.

        Args:
            request: the request.
            model: `provider/model`.
            most: maximum tokens of the call.
            usd: their price; None if unknown.
            seconds: timeout of the call. None for a call that outlives the process: it counts as spent until it is recorded, and no other call waits for it.
            name: name of the call; None for a new unique one.

        Raises:
            BudgetError: the call could exceed the budget.
            SettingsError: there is a budget in USD and the model has no price.
            StoreError: the data root cannot be written.
        """
        if usd is None and self.budget.usd is not None:
            raise SettingsError("The model has no known price, so budget.usd cannot be kept. Give models.<model>.price, or set budget.tokens instead.")
        self._count += 1
        sent = Sent(name or f"{self._writer}-{self._count}", request, model, most, usd)
        line = self._line(sent, SENT) | {
            "most": {"input_tokens": most.input_tokens, "output_tokens": most.output_tokens, "usd": usd},
            "beyond": self._beyond(model),
            "process": PROCESS,
            "until": 0 if seconds is None else round(time.time() + seconds + GRACE_SECONDS),
        }
        while not self._exchange(line, lambda: self._fits(sent, self._held.values())):
            if not self._fits(sent, [self._held[call] for call, held in self._open.items() if not self._is_under_way(held)]):
                raise BudgetError(self._spent(sent))
            self._changed.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(POLL_SECONDS):
                    await self._changed.wait()
        self._mine.add(sent.call)
        return sent

    def open_calls(self, calls: Iterable[str]) -> list[str]:
        """Return those of some calls that any process has sent and whose result is not known yet."""
        self._exchange(None)
        return [call for call in calls if call in self._open]

    def uncharged(self, calls: Iterable[str]) -> list[str]:
        """Return those of some calls whose result is not known yet, including calls that are not on the bill."""
        self._exchange(None)
        return [call for call in calls if call not in self._done]

    def record(
        self,
        sent: Sent,
        outcome: str,
        seconds: float,
        usage: Usage | None,
        usd: float | None,
        prices: str | None,
        request_id: str | None = None,
        reported: str | None = None,
    ) -> None:
        """Record the result of a call, which releases its reservation.

        Args:
            sent: from `reserve`.
            outcome: `ok`, or the name of the error.
            seconds: duration of the call.
            usage: charged tokens; None for a call that costs nothing.
            usd: charged money; None if the price is unknown.
            prices: version of the price data from which `usd` was computed.
            request_id: the provider's name for the call.
            reported: the version of the model, as the provider states it.

        Raises:
            StoreError: the data root cannot be written; the call stays charged with its reservation.
        """
        line = self._line(sent, outcome) | {
            "seconds": round(seconds, 3),
            "request_id": request_id,
            "reported": reported,
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
        names = {"call": sent.call, "at": at, "run": self.run, "role": sent.request.role, "item": sent.request.item, "model": sent.model}
        return {**names, "outcome": outcome}

    def _exchange(self, line: Line | None, wanted: Callable[[], bool] = lambda: True) -> bool:
        """Read the lines of other processes, then write a line if `wanted` returns True; return whether it was written."""
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
        if not is_entry(line):
            self._strange += 1
            return
        if line["call"] in self._done:
            return
        if line["outcome"] == SENT:
            self._open[line["call"]] = line
            bill = Bill()
            bill.add(charged(line))
            self._held[line["call"]] = bill.usd, bill.tokens
            return
        self._done.add(line["call"])
        self._settled.add(line)
        sent = self._open.pop(line["call"], None)
        self._held.pop(line["call"], None)
        if sent and line.get("estimated") is not True:
            self._learn(charged(sent), line)

    def _learn(self, most: Line, line: Line) -> None:
        """Note by how much a call's usage exceeded its reservation, so that more is reserved for later calls."""
        over = [int(amount(line.get(name)) - amount(most.get(name))) for name in ("input_tokens", "output_tokens")]
        if max(over) > 0:
            beyond = [max(old, was + max(0, more)) for old, was, more in zip(self._beyond(line["model"]), most["beyond"], over, strict=True)]
            self.surprises[line["model"]] = Usage(beyond[0], beyond[1])

    def _beyond(self, model: str) -> tuple[int, int]:
        known = self.surprises.get(model, Usage())
        return known.input_tokens, known.output_tokens

    def _fits(self, sent: Sent, held: Collection[tuple[float, int]]) -> bool:
        usd = self._settled.usd + sum(usd for usd, _ in held) + (sent.usd or 0.0)
        tokens = self._settled.tokens + sum(tokens for _, tokens in held) + sent.most.input_tokens + sent.most.output_tokens
        return (self.budget.usd is None or usd <= self.budget.usd) and (self.budget.tokens is None or tokens <= self.budget.tokens)

    def _is_under_way(self, line: Line) -> bool:
        """Return whether the answer to an open call may still come."""
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
            "Raise budget in the settings and run the same command again: everything made so far is kept."
        )
