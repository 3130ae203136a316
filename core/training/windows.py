"""How many tokens whole conversations take in a training, whose windows repeat some exchanges as context."""

from collections.abc import Sequence
from itertools import accumulate

CONTEXT = 0.25
"""As in deployments/jobs/train/windows.py, which cuts the windows; a test holds the two together."""


def windowed_tokens(frame: int, sizes: Sequence[int], times: Sequence[int], limit: int | None) -> list[int]:
    """Return the tokens of each row that a conversation becomes; one row if it fits.

    Args:
        frame: tokens of the system prompt; sizes: of each exchange.
        times: how often each reply is learnt; what follows the last learnt one is left out.
        limit: tokens of a row; none where nothing is cut.
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
