"""Computes, over all possible answers, how often the conditions on refusals, look-alikes and general prompts hold for given true rates.

    python -m bench.forgetting        (part of make bench-statistics)

Takes seconds.
"""

import numpy as np
from scipy import stats

from core.evaluation.paired_proportions import ONE_SIDED, score_statistic

ITEMS = (30, 60, 100)
MARGIN = 0.10
ALIKE = (0.01, 0.02, 0.03, 0.05, 0.10)
"""Share of items in which only the base gives a good answer, which is also the share of only the arm: there is no loss."""
LOSSES = (0.05, 0.10, 0.20)
"""True losses. Only the arm gives a good answer in 2 % of items."""


def chance_to_hold(items: int, lost: float, gained: float, margin: float = MARGIN) -> float:
    """Return how often the lower bound of the difference is above −margin.

    Args:
        lost, gained: true shares of items in which only the base, or only the arm, gives a good answer.
    """
    only_base, only_arm = (part.ravel() for part in np.meshgrid(*[np.arange(items + 1)] * 2))
    possible = only_base + only_arm <= items
    only_base, only_arm = only_base[possible], only_arm[possible]
    counts = np.stack([only_base, only_arm, items - only_base - only_arm], axis=-1)
    chance = stats.multinomial.pmf(counts, items, [lost, gained, 1 - lost - gained])
    return float(chance[score_statistic(only_base, only_arm, items, -margin) > ONE_SIDED].sum())


def rows() -> list[str]:
    """Return the rows of the table in docs/evaluation.md."""
    return [
        f"| {items} | {' | '.join([f'{100 * chance_to_hold(items, share, share):.0f} %' for share in ALIKE])} | "
        f"{' | '.join([f'{100 * chance_to_hold(items, loss + 0.02, 0.02):.0f} %' for loss in LOSSES])} |"
        for items in ITEMS
    ]


if __name__ == "__main__":
    print("How often the conditions on refusals, look-alikes and general prompts hold, with a margin of 10 points\n")
    print(
        "| items | nothing lost, the models differ in 2 % of items | 4 % | 6 % | 10 % | 20 % | lost 5 points | 10 | 20 |\n|---|---|---|---|---|---|---|---|---|"
    )
    print("\n".join(rows()))
