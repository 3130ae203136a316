"""How far a batch of rehearsals is: conversations, exchanges, speed, time left."""

import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from core.llm.bills import Bill

LEAST_SECONDS = 1.0
"""Before this, a speed says nothing."""


@dataclass
class Progress:
    """Counts of a batch under way.

    Args:
        conversations, exchanges: to be made in all; a conversation that ends early takes its rest off.
        ended: conversations; said: exchanges that are there, of which `found` were there before.
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
        """Begin now."""
        self._started = self.clock()

    def resume(self, conversation: str, exchanges: int) -> None:
        """Count exchanges that were there before this run."""
        self._counted[conversation] += exchanges
        self.said += exchanges
        self.found += exchanges

    def say(self, conversation: str) -> None:
        """Count an exchange."""
        self._counted[conversation] += 1
        self.said += 1

    def end(self, conversation: str, target: int, exchanges: int) -> None:
        """Count a conversation that ended, or was found whole."""
        rest = exchanges - self._counted.pop(conversation, 0)
        self.said += rest
        self.found += rest
        self.ended += 1
        self.exchanges -= target - exchanges
        if self.ended == self.conversations:
            self._ended_at = self.clock()

    @property
    def percent(self) -> float:
        """Exchanges done, of all, in percent."""
        return min(100.0, 100 * self.said / max(1, self.exchanges))

    def line(self, bill: Bill) -> str:
        """Return it in one line."""
        seconds = (self._ended_at or self.clock()) - self._started
        speed = (self.said - self.found) / seconds if seconds > LEAST_SECONDS else 0.0
        parts = [f"{self.ended:,} of {self.conversations:,} conversations", f"{self.said:,} of {self.exchanges:,} exchanges"]
        parts += [f"{speed:.1f} exchanges/s"] if speed else []
        parts += [f"{bill.usd:.2f} USD so far"] if bill.usd else []
        left = (self.exchanges - self.said) / speed if speed else 0.0
        parts += [f"about {_duration(left)} left"] if left >= LEAST_SECONDS else []
        return ", ".join(parts)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
