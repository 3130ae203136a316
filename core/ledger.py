"""A run's bill: one line for every call, kept below the data root, and the budget that is checked against it."""

import asyncio
import os
import socket
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pydantic_core import to_json

from core.chat import ChatRequest, Reply
from core.errors import BudgetError, SettingsError
from core.json_lines import read_objects
from core.model_settings import Budget
from core.store import Store

LINES = 200
"""Of one file: an object store writes it anew for each line."""

SHARD = "-shard-"
"""What stands between the name of a run and the rest of its shard's."""

SENT = "sent"
"""Outcome of a call of which nothing is known yet."""


@dataclass
class Bill:
    """What calls amount to.

    Args:
        calls: sent; unpriced: those of them whose cost is not known, because the model has no price or no answer came.
        usd: of those whose price is known.
    """

    calls: int = 0
    unpriced: int = 0
    input_tokens: int = 0
    cache_read_tokens: int = 0
    cache_write_tokens: int = 0
    output_tokens: int = 0
    usd: float = 0.0

    def add(self, entry: dict[str, Any]) -> None:
        """Add a line of the ledger."""
        self.calls += 1
        self.unpriced += entry.get("usd") is None
        self.usd += entry.get("usd") or 0.0
        for name in ("input_tokens", "cache_read_tokens", "cache_write_tokens", "output_tokens"):
            setattr(self, name, getattr(self, name) + (entry.get(name) or 0))

    @property
    def tokens(self) -> int:
        """Input and output together."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        cached = f" ({self.cache_read_tokens / self.input_tokens:.0%} from the cache)" if self.cache_read_tokens else ""
        unknown = f", and {self.unpriced} calls of unknown price" if self.unpriced else ""
        return f"{self.calls:,} calls, {self.input_tokens:,} tokens in{cached}, {self.output_tokens:,} out, {self.usd:.4f} USD{unknown}"


@dataclass
class Ledger:
    """The bill of one run, which may be stopped and begun again any number of times.

    Args:
        run: names the run: the same command has the same run.
        budget: what it may cost in all.
    """

    store: Store
    run: str
    budget: Budget
    bill: Bill = field(default_factory=Bill)

    def __post_init__(self) -> None:
        """Read what the run has cost before; each process writes a file of its own."""
        for entry in read_entries(self.store, self.run):
            self.bill.add(entry)
        self._writer = f"ledger/{self.run}/{datetime.now(UTC):%Y%m%dT%H%M%S}-{socket.gethostname()}-{os.getpid()}-{time.monotonic_ns() % 10**6:06d}"
        self._lines, self._calls = 0, 0
        self._append: Callable[[str], None] | None = None
        self._held_usd, self._held_tokens = 0.0, 0
        self._settled = asyncio.Event()

    @property
    def used(self) -> float:
        """Share of the budget that is spent: of the money or of the tokens, whichever is more."""
        limits = [(self.bill.usd, self.budget.usd), (self.bill.tokens, self.budget.tokens)]
        return max((spent / limit if limit else float(spent > 0) for spent, limit in limits if limit is not None), default=0.0)

    async def hold(self, usd: float | None, tokens: int) -> None:
        """Set the most that a call can cost aside until `release`; wait where others under way hold what is left.

        Raises:
            BudgetError: the call could exceed the budget.
            SettingsError: there is a budget in USD and the model has no price.
        """
        if usd is None and self.budget.usd is not None:
            raise SettingsError("The model has no known price, so budget.usd cannot be kept. Give models.<model>.price, or set budget.tokens instead.")
        while not self._fits(usd or 0.0, tokens, held=True):
            if not self._fits(usd or 0.0, tokens, held=False):
                raise BudgetError(self._spent(usd or 0.0, tokens))
            self._settled.clear()
            await self._settled.wait()
        self._held_usd += usd or 0.0
        self._held_tokens += tokens

    def release(self, usd: float | None, tokens: int) -> None:
        """Give back what was set aside for a call; what it took is on the bill by now."""
        self._held_usd -= usd or 0.0
        self._held_tokens -= tokens
        self._settled.set()

    def sent(self, request: ChatRequest, model: str) -> str:
        """Note that a call goes out, so that it is on the bill even if a kill loses its answer; return its name.

        Raises:
            StoreError: the data root cannot be written.
        """
        self._calls += 1
        call = f"{self._writer.rpartition('/')[2]}-{self._calls}"
        self._write(call, request, model, SENT, None, None, None, None)
        return call

    def record(
        self, call: str, request: ChatRequest, model: str, outcome: str, seconds: float, reply: Reply | None, usd: float | None, prices: str | None
    ) -> None:
        """Append what came of a call.

        Args:
            call: its name.
            outcome: `ok`, or the name of the error.
            reply: none where no answer came: what that cost is not known.
            prices: which price data `usd` rests on.

        Raises:
            StoreError: the data root cannot be written.
        """
        self.bill.add(self._write(call, request, model, outcome, seconds, reply, usd, prices))

    def _write(
        self, call: str, request: ChatRequest, model: str, outcome: str, seconds: float | None, reply: Reply | None, usd: float | None, prices: str | None
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "call": call,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "run": self.run,
            "role": request.role,
            "item": request.item,
            "model": model,
            "outcome": outcome,
        }
        if outcome != SENT:
            usage = reply.usage if reply else None
            entry |= {
                "seconds": seconds and round(seconds, 3),
                "request_id": reply.request_id if reply else None,
                "input_tokens": usage.input_tokens if usage else None,
                "cache_read_tokens": usage.cache_read_tokens if usage else None,
                "cache_write_tokens": usage.cache_write_tokens if usage else None,
                "output_tokens": usage.output_tokens if usage else None,
                "usd": usd,
                "prices": prices,
                "usage": dict(usage.raw) if usage else None,
            }
        if self._lines % LINES == 0 or self._append is None:
            self._append = self.store.appender(f"{self._writer}-{self._lines // LINES:03d}.jsonl")
        self._lines += 1
        self._append(to_json(entry).decode() + "\n")
        return entry

    def _fits(self, usd: float, tokens: int, held: bool) -> bool:
        in_usd = self.budget.usd is None or self.bill.usd + usd + (self._held_usd if held else 0) <= self.budget.usd
        in_tokens = self.budget.tokens is None or self.bill.tokens + tokens + (self._held_tokens if held else 0) <= self.budget.tokens
        return in_usd and in_tokens

    def _spent(self, usd: float, tokens: int) -> str:
        limits = [f"{self.bill.usd:.4f} of {self.budget.usd:g} USD"] if self.budget.usd is not None else []
        limits += [f"{self.bill.tokens:,} of {self.budget.tokens:,} tokens"] if self.budget.tokens is not None else []
        return (
            f"Budget reached: this run has used {' and '.join(limits)}, and the next call may take {usd:.4f} USD and {tokens:,} tokens. "
            "Raise budget in the settings and run the same command again: what was made is kept."
        )


def read_entries(store: Store, run: str) -> list[dict[str, Any]]:
    """Return the calls of a run and of its shards, in the order in which they were sent: what came of each, or that it was sent where no more is known.

    A line that a kill cut short, or that is no call, is left out.
    """
    found: dict[str, dict[str, Any]] = {}
    folders = [folder for folder in store.names("ledger", beginning=run) if folder == f"ledger/{run}" or folder.startswith(f"ledger/{run}{SHARD}")]
    for name in [name for folder in folders for name in store.names(folder, ".jsonl")]:
        for entry in read_objects(store.read_bytes(name)):
            if all(isinstance(entry.get(name), str) for name in ("call", "role", "item", "model")):
                found[entry["call"]] = entry
    return list(found.values())


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
