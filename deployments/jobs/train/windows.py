"""Cutting a conversation longer than --max-length into windows: each reply is learnt in one."""

from collections.abc import Callable, Iterable
from itertools import accumulate, groupby
from typing import Any

from ..common.dataset import Messages
from .data import Row

CONTEXT = 0.25
"""Share of a window, without the system prompt, for exchanges before the first learnt one. They are
computed again, so a larger share costs more; a smaller share gives replies less context."""


def trimmed(row: Row) -> Row:
    """Return a row without the messages after its last learnt reply."""
    last = max(number for number, times in enumerate(row.times) if times)
    places = [at for at, message in enumerate(row.messages) if message["role"] == "assistant"]
    return Row(row.messages[: places[last] + 1], row.times[: last + 1], row.before)


def windows_of(
    row: Row, encode: Callable[[Messages], tuple[Any, Iterable[bool]]], limit: int
) -> list[Row]:
    """Cut a row into windows of at most `limit` tokens.

    A window is longer only if a single exchange with the system prompt exceeds the limit.

    Args:
        encode: returns the tokens of messages, and for each whether it is part of a reply.
    """
    ids, marks = encode(row.messages)
    head, exchanges = split_up(row.messages)
    runs = [(marked, len(list(run))) for marked, run in groupby(marks)]
    ends = [
        end for end, (marked, _) in zip(accumulate(n for _, n in runs), runs, strict=True) if marked
    ]
    # If the template does not mark every reply, `check_labels` reports it.
    if len(ids) <= limit or len(exchanges) == 1 or len(ends) != len(exchanges):
        return [row]
    frame = max(0, len(encode(head + exchanges[1])[0]) - ends[1] + ends[0])
    before = [frame, *ends]
    windows, taught, last = list[Row](), 0, len(exchanges)

    def size(start: int, end: int) -> int:
        return frame + before[end] - before[start]

    while taught < last:
        if not row.times[taught]:
            taught += 1
            continue
        start, end = taught, taught + 1
        while start and before[taught] - before[start - 1] <= CONTEXT * (limit - frame):
            start -= 1
        while start < taught and size(start, end) > limit:
            start += 1
        while end < last and size(start, end + 1) <= limit:
            end += 1
        while True:
            # `size` is computed from the full conversation; a part can differ a little from it.
            messages = head + [m for exchange in exchanges[start:end] for m in exchange]
            if len(encode(messages)[0]) <= limit or end - start == 1:
                break
            start, end = (start, end - 1) if end > taught + 1 else (start + 1, end)
        times = [0] * (taught - start) + row.times[taught:end]
        windows.append(trimmed(Row(messages, times, row.before + start)))
        taught = end
    return windows


def split_up(messages: Messages) -> tuple[Messages, list[Messages]]:
    """Return the system messages at the start, and the exchanges; each ends with a reply."""
    first = next(at for at, message in enumerate(messages) if message["role"] != "system")
    exchanges = list[Messages]([[]])
    for message in messages[first:]:
        exchanges[-1].append(message)
        if message["role"] == "assistant":
            exchanges.append([])
    return messages[:first], [exchange for exchange in exchanges if exchange][: len(exchanges) - 1]
