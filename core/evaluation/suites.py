"""Suites: lists of questions that are asked beside the compared conversations."""

from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from typing import TypeVar

Item = TypeVar("Item")


def spread_over(items: Sequence[Item], part: Callable[[Item], Hashable], count: int | None) -> tuple[Item, ...]:
    """Choose so many items, as evenly over their parts as the parts' sizes allow, in their order.

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
