"""Suites: lists of questions that are asked beside the compared conversations."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import Literal, TypeVar

from core.fingerprint import fingerprint
from core.records import ModelChoice, Record

Item = TypeVar("Item")

SuiteName = Literal["general", "refusals"]
BILLED = ("general-", "refusals-", "battery-")
"""With which the names of these calls begin on the bill."""


def spread_over(items: Sequence[Item], part: Callable[[Item], Hashable], count: int | None) -> tuple[Item, ...]:
    """Choose a number of items, as evenly over their parts as the parts' sizes allow, in their order.

    The same items always give the same choice, and a larger count keeps what a smaller one chose, so that answers already paid for are used again.

    Args:
        part: the part (gate, class, kind) that an item is of.
        count: how many; all with none, or with more than there are.
    """
    before: Counter[Hashable] = Counter()
    rounds: list[tuple[int, int]] = []
    for place, item in enumerate(items):
        rounds.append((before[part(item)], place))
        before[part(item)] += 1
    chosen = sorted(place for _, place in sorted(rounds)[:count])
    return tuple(items[place] for place in chosen)


class Question(Record):
    """A question of a suite as a model is asked it, without a system prompt; all that its answer depends on.

    Args:
        max_tokens: room for the answer.
    """

    suite: SuiteName
    choice: ModelChoice
    name: str
    prompt: str
    max_tokens: int

    @property
    def item(self) -> str:
        """Its name on the bill."""
        return f"{self.suite}-{fingerprint(self)}"


class Said(Record):
    """What a model makes of a question.

    Args:
        answer: empty where the model wrote nothing; none where the call failed.
        declined: whether the provider ended the call as a refusal.
        lost: why the call failed.
    """

    answer: str | None
    declined: bool = False
    lost: str | None = None
