"""The progress of a batch of rehearsals: conversations, exchanges, speed and remaining time."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from core.llm.bills import Bill

MIN_SECONDS = 1.0
"""Minimum elapsed time for a meaningful speed, and minimum remaining time to show."""


@dataclass
class Progress:
    """Counts of a batch in progress.

    Args:
        conversations: number of conversations of the batch.
        exchanges: planned number of their exchanges; a conversation that ends early reduces it.
        ended: number of conversations that have ended.
        said: number of exchanges so far, of which `found` existed before this run.
        clock: returns the time in seconds.
    """

    conversations: int
    exchanges: int
    ended: int = 0
    said: int = 0
    found: int = 0
    clock: Callable[[], float] = time.monotonic
    _counted: Counter[str] = field(default_factory=Counter)
    _ended_at: float | None = None

    def __post_init__(self) -> None:
        """Start the clock."""
        self._started = self.clock()

    def resume(self, conversation: str, exchanges: int) -> None:
        """Count exchanges that existed before this run."""
        self._counted[conversation] += exchanges
        self.said += exchanges
        self.found += exchanges

    def say(self, conversation: str) -> None:
        """Count a new exchange."""
        self._counted[conversation] += 1
        self.said += 1

    def end(self, conversation: str, target: int, exchanges: int) -> None:
        """Count a conversation that has ended, in this run or before.

        Args:
            conversation: its name.
            target: its planned number of exchanges.
            exchanges: its actual number of exchanges.
        """
        rest = exchanges - self._counted.pop(conversation, 0)
        self.said += rest
        self.found += rest
        self.ended += 1
        self.exchanges -= target - exchanges
        if self.ended == self.conversations:
            self._ended_at = self.clock()

    @property
    def percent(self) -> float:
        """Exchanges so far, in percent of the planned ones."""
        return min(100.0, 100 * self.said / max(1, self.exchanges))

    def line(self, bill: Bill) -> str:
        """Return the progress as a line of text, with the cost so far."""
        seconds = (self._ended_at or self.clock()) - self._started
        speed = (self.said - self.found) / seconds if seconds > MIN_SECONDS else 0.0
        parts = [f"{self.ended:,} of {self.conversations:,} conversations", f"{self.said:,} of {self.exchanges:,} exchanges"]
        parts += [f"{speed:.1f} exchanges/s"] if speed else []
        parts += [f"{bill.usd:.2f} USD so far"] if bill.usd else []
        left = (self.exchanges - self.said) / speed if speed else 0.0
        parts += [f"about {_duration(left)} left"] if left >= MIN_SECONDS else []
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
