"""The log of a conversation in progress: each message is on disk as soon as it exists."""

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
    """One accepted message.

    Args:
        done: whether the user says goodbye with it.
        spent: tokens of the call that wrote it.
    """

    side: Side
    text: str
    done: bool = False
    spent: Spent = Spent()


class Rejection(Record):
    """A message that a guard refused.

    Args:
        found: excerpt that shows the fault.
        text: the message.
        seed: seed of the request.
        spent: tokens of the call.
    """

    side: Side
    exchange_number: int
    fault: Fault
    found: str
    text: str
    seed: int
    spent: Spent = Spent()


class TurnLog:
    """The accepted and the refused messages of a conversation so far; a resumed run continues after them.

    In a log, sides alternate and messages are numbered consecutively. If another program has damaged the log, the lines before the first one out of
    sequence are used.

    Args:
        store: where the log is stored; None keeps it in memory.
        name: the transcript's id, which differs for another pack or model.
        after_exchange: called after each exchange.
        lock: lock of the run that plays the conversation.
    """

    def __init__(self, store: Store | None = None, name: str = "", after_exchange: Callable[[], None] | None = None, lock: Lock | None = None) -> None:
        """Read the existing log, if there is one."""
        self._after_exchange = after_exchange
        self.turns: list[Turn] = []
        self.rejections: list[Rejection] = []
        self._log = LineLog(store, FOLDER, name, self._take, in_order=True, lock=lock)

    @property
    def damage(self) -> str | None:
        """What was wrong with the existing log; None if nothing was."""
        return self._log.damage

    def _take(self, line: dict[str, Any]) -> None:
        """Add a line of the existing log.

        Raises:
            ValueError: the line is out of sequence.
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
        """Store an accepted message.

        Raises:
            StoreError: the data root cannot be written, or another run has taken over the conversation.
        """
        self._log.add({"number": len(self.turns), **turn.model_dump(mode="json")})
        self.turns.append(turn)
        if self._after_exchange and len(self.turns) % 2 == 0:
            self._after_exchange()

    def refuse(self, rejection: Rejection) -> None:
        """Store a refused message.

        Raises:
            StoreError: the data root cannot be written, or another run has taken over the conversation.
        """
        self._log.add(rejection.model_dump(mode="json"))
        self.rejections.append(rejection)

    def refused(self, side: Side, exchange_number: int) -> int:
        """Return how many versions of a message were refused so far."""
        return len(self.refusals(side, exchange_number))

    def refusals(self, side: Side, exchange_number: int) -> list[Rejection]:
        """Return the refused versions of a message, oldest first."""
        return [item for item in self.rejections if item.side == side and item.exchange_number == exchange_number]

    def usage(self) -> dict[RoleName, dict[str, int]]:
        """Return the calls and tokens of each role, including those of refused messages."""
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
    """Return the tokens of a call that the log stores."""
    return Spent(input_tokens=usage.input_tokens, cache_read_tokens=usage.cache_read_tokens, output_tokens=usage.output_tokens)


def rejection(side: Side, exchange_number: int, fault: Fault, found: str, reply: Reply, seed: int) -> Rejection:
    """Return the record of a refused reply, with at most 200 characters of the excerpt."""
    return Rejection(side=side, exchange_number=exchange_number, fault=fault, found=found[:200], text=reply.text, seed=seed, spent=spent(reply.usage))
