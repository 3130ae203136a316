"""The messages of a conversation that is under way, on disk as soon as they are there."""

from collections.abc import Callable
from typing import Any

from core.llm.chat import Reply, Usage
from core.records import Record, RoleName, Side
from core.settings.faults import Fault
from core.storage.line_log import LineLog
from core.storage.locks import Lock
from core.storage.store import Store

FOLDER = "turns"

SIDES: tuple[Side, Side] = ("user", "assistant")


class Spent(Record):
    """Tokens of one call."""

    input_tokens: int = 0
    cache_read_tokens: int = 0
    output_tokens: int = 0


class Turn(Record):
    """One message that was written.

    Args:
        done: whether the user takes leave with it.
    """

    side: Side
    text: str
    done: bool = False
    spent: Spent = Spent()


class Rejection(Record):
    """A message that a guard refused.

    Args:
        found: what shows the fault.
        seed: with which it was asked for.
    """

    side: Side
    exchange_number: int
    fault: Fault
    found: str
    text: str
    seed: int
    spent: Spent = Spent()


class TurnLog:
    """What was said, and refused, so far in the conversation of a name; a run that was killed continues after it.

    Of a log that another hand has spoilt, what stands before the first line that does not follow is used: sides alternate, numbers run, and each
    line belongs to the conversation.

    Args:
        store: where it is kept; none keeps it in memory.
        name: the transcript's id, which is different for another pack or model.
        after_exchange: called after each exchange.
        lock: of the run that makes the conversation.
    """

    def __init__(self, store: Store | None = None, name: str = "", after_exchange: Callable[[], None] | None = None, lock: Lock | None = None) -> None:
        """Read what is there."""
        self._after_exchange = after_exchange
        self.turns: list[Turn] = []
        self.rejections: list[Rejection] = []
        self._log = LineLog(store, FOLDER, name, self._take, in_order=True, lock=lock)

    @property
    def damage(self) -> str | None:
        """What was wrong with the log that was found; none if nothing was."""
        return self._log.damage

    def _take(self, line: dict[str, Any]) -> None:
        """Take a line that was kept.

        Raises:
            ValueError: it does not follow on those before.
        """
        number, side = len(self.turns), SIDES[len(self.turns) % 2]
        if "fault" in line:
            rejected = Rejection.model_validate(line)
            place, due = (rejected.exchange_number, rejected.side), (number // 2 + 1, side)
            self.rejections += [rejected] if place == due else []
        else:
            place, due = (line.pop("number", None), line.get("side")), (number, side)
            self.turns += [Turn.model_validate(line)] if place == due else []
        if place != due:
            raise ValueError(f"it is message {place[0]}, of the {place[1]}; message {due[0]}, of the {due[1]}, is expected")

    def add(self, turn: Turn) -> None:
        """Keep a message.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the conversation over.
        """
        self._log.add({"number": len(self.turns), **turn.model_dump(mode="json")})
        self.turns.append(turn)
        if self._after_exchange and len(self.turns) % 2 == 0:
            self._after_exchange()

    def refuse(self, rejection: Rejection) -> None:
        """Keep a message that was refused.

        Raises:
            StoreError: the data root cannot be written, or another run has taken the conversation over.
        """
        self._log.add(rejection.model_dump(mode="json"))
        self.rejections.append(rejection)

    def refused(self, side: Side, exchange_number: int) -> int:
        """Return how often a message was refused so far."""
        return len(self.refusals(side, exchange_number))

    def refusals(self, side: Side, exchange_number: int) -> list[Rejection]:
        """Return the refused versions of a message, oldest first."""
        return [item for item in self.rejections if item.side == side and item.exchange_number == exchange_number]

    def usage(self) -> dict[RoleName, dict[str, int]]:
        """Return calls and tokens of each role, refused messages included."""
        roles: dict[Side, RoleName] = {"user": "user_simulator", "assistant": "assistant"}
        by_role: dict[RoleName, dict[str, int]] = {}
        for item in [*self.turns, *self.rejections]:
            sums = by_role.setdefault(roles[item.side], {"calls": 0} | dict.fromkeys(Spent.model_fields, 0))
            sums["calls"] += 1
            for name in Spent.model_fields:
                sums[name] += getattr(item.spent, name)
        return by_role

    def remove(self) -> None:
        """Delete the log of a conversation whose transcript is stored."""
        self._log.remove()


def spent(usage: Usage) -> Spent:
    """Return what is kept of a call's usage."""
    return Spent(input_tokens=usage.input_tokens, cache_read_tokens=usage.cache_read_tokens, output_tokens=usage.output_tokens)


def rejection(side: Side, exchange_number: int, fault: Fault, found: str, reply: Reply, seed: int) -> Rejection:
    """Return the record of a refused reply."""
    return Rejection(side=side, exchange_number=exchange_number, fault=fault, found=found[:200], text=reply.text, seed=seed, spent=spent(reply.usage))
