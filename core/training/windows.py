"""Counts the tokens of complete conversations in a training, which cuts long ones into windows that repeat some exchanges as context."""

from collections.abc import Sequence
from itertools import accumulate

CONTEXT = 0.25
"""Share of a window for repeated exchanges. It equals the value in deployments/jobs/train/windows.py, which cuts the windows; a test compares both."""


def windowed_tokens(frame: int, sizes: Sequence[int], times: Sequence[int], limit: int | None) -> list[int]:
    """Return the tokens of each row into which a conversation is cut; there is one row if the conversation fits.

    Args:
        frame: tokens of the system prompt.
        sizes: tokens of each exchange.
        times: how often each reply is taught; exchanges after the last taught reply are left out.
        limit: largest number of tokens of a row; None if nothing is cut.
    """
    last = max((number for number, count in enumerate(times, 1) if count), default=0)
    before = [0, *accumulate(sizes[:last])]
    if limit is None or frame + before[-1] <= limit or last < 2:
        return [frame + before[-1] if limit is None else min(limit, frame + before[-1])] if last else []
    rows, taught = list[int](), 0
    while taught < last:
        if not times[taught]:
            taught += 1
            continue
        start, end = taught, taught + 1
        while start and before[taught] - before[start - 1] <= CONTEXT * (limit - frame):
            start -= 1
        while start < taught and frame + before[end] - before[start] > limit:
            start += 1
        while end < last and frame + before[end + 1] - before[start] <= limit:
            end += 1
        taught, end = end, max(number for number, count in enumerate(times[:end], 1) if count)
        rows.append(min(limit, frame + before[end] - before[start]))
    return rows
