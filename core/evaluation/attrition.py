"""Attrition: an evaluation's missing conversations, and whether they could bias it."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.mean_differences import Conversations, Means
from core.evaluation.outcomes import Pairs, Trial, count_reasons, points
from core.evaluation.paired_statistics import t_interval
from core.records import Record

PLAUSIBLE_QUANTILE = 0.05
"""Quantile that fills in missing conversations: the arm's get the 5th percentile of its scores, the base's the 95th of its own. Scores of 0 and 1 instead
(`bounds`) would let no gain below about 20 % pass with a usual loss of 2 %."""


class Missing(Record):
    """An arm's conversations by outcome; completed, incomplete, simulator_broke and lost add up to planned.

    Args:
        planned: combinations of persona and trial that any arm has.
        completed: conversations that can be compared.
        incomplete: judged conversations with an unusable answer.
        simulator_broke: conversations broken by the simulated user.
        lost: all others, including conversations that do not exist.
        reasons: number of lost or spoiled conversations by reason, the most frequent first.
    """

    planned: int
    completed: int
    incomplete: int
    simulator_broke: int
    lost: int
    reasons: dict[str, int]


MissingKind = Literal["not completed", "incomplete assessments", "broken by the simulated user"]


class MissingShare(Record):
    """One kind of missing conversations, in both arms.

    Args:
        base_share, arm_share: shares of the planned conversations.
        p: of Fisher's exact test, which assumes independent conversations and therefore flags a little too often.
        unequal: whether the shares differ significantly, or by more than the settings allow.
    """

    kind: MissingKind
    base_share: FiniteFloat
    arm_share: FiniteFloat
    p: FiniteFloat
    unequal: bool


class Bounds(Record):
    """Bounds of the difference that would have been observed without missing conversations.

    Args:
        worst: the difference with a score of 0 for each missing conversation of the arm and 1 for each of the base.
        best: the difference with 1 for the arm's and 0 for the base's.
        arm_missing, base_missing: numbers of missing conversations.
    """

    worst: FiniteFloat
    best: FiniteFloat
    arm_missing: int
    base_missing: int


class PlausibleWorst(Means):
    """The difference in the plausible worst case: missing conversations had gone badly for the arm, but within the usual range of scores.

    Args:
        arm_score, base_score: score filled in for each missing conversation of the arm, and of the base.
        missing: number of missing conversations of both arms.
    """

    arm_score: FiniteFloat
    base_score: FiniteFloat
    missing: int


def count_missing(conversations: Mapping[tuple[int, int], Trial], planned: int) -> Missing:
    """Count an arm's conversations by outcome.

    Args:
        conversations: the arm's conversations by persona and trial.
        planned: number of planned conversations.
    """
    items = list(conversations.values())
    completed, broke = sum(item.complete for item in items), sum(item.simulator_broke for item in items)
    incomplete = sum(not item.complete and item.score is not None and not item.simulator_broke for item in items)
    reasons = count_reasons(items)
    if absent := planned - len(items):
        reasons["no conversation was given"] = absent
    return Missing(
        planned=planned,
        completed=completed,
        incomplete=incomplete,
        simulator_broke=broke,
        lost=planned - completed - incomplete - broke,
        reasons=reasons,
    )


def missing_shares(base: Missing, arm: Missing, alpha: float, allowed: float) -> list[MissingShare]:
    """Compare the shares of missing conversations of two arms; if attrition depends on the arm, the comparison is biased.

    Args:
        alpha: p of Fisher's test below which shares are unequal.
        allowed: difference of shares above which they are unequal, regardless of p.
    """
    from scipy import stats

    compared: list[MissingShare] = []
    kinds: dict[MissingKind, tuple[int, int]] = {
        "not completed": (base.planned - base.completed, arm.planned - arm.completed),
        "incomplete assessments": (base.incomplete, arm.incomplete),
        "broken by the simulated user": (base.simulator_broke, arm.simulator_broke),
    }
    for kind, counts in kinds.items():
        shares = counts[0] / base.planned, counts[1] / arm.planned
        p = float(stats.fisher_exact([[counts[0], base.planned - counts[0]], [counts[1], arm.planned - counts[1]]]).pvalue)
        unequal = p < alpha or abs(shares[1] - shares[0]) > allowed + 1e-9
        compared.append(MissingShare(kind=kind, base_share=shares[0], arm_share=shares[1], p=min(1.0, p), unequal=unequal))
    return compared


def bounds(base: Conversations, arm: Conversations, planned: Sequence[tuple[int, int]]) -> Bounds:
    """Return the bounds of the difference of mean scores, with a score of 0 or 1 for each missing conversation.

    Args:
        planned: persona and trial of each planned conversation.

    Source:
        Manski, "Nonparametric bounds on treatment effects", American Economic Review 80 (1990): 319–323.
    """
    worst, best = (_filled(base, arm, planned, *missing).difference for missing in ((1, 0), (0, 1)))
    arm_missing, base_missing = (sum(not (key in trials and trials[key].complete) for key in planned) for trials in (arm, base))
    return Bounds(worst=worst, best=best, arm_missing=arm_missing, base_missing=base_missing)


def plausible_worst(base: Conversations, arm: Conversations, planned: Sequence[tuple[int, int]]) -> PlausibleWorst:
    """Return the difference if each missing conversation of the arm had a low score, and each of the base a high one (`PLAUSIBLE_QUANTILE`).

    Args:
        base, arm: conversations by persona and trial; at least one is complete in each arm.
        planned: persona and trial of each planned conversation.

    Source:
        A sensitivity analysis with a stated departure from "missing at random", as recommended by the National Research Council, The Prevention and Treatment
        of Missing Data in Clinical Trials (2010), chapter 5.
    """
    scores = [np.array([value for item in trials.values() if item.complete and (value := points(item)) is not None]) for trials in (base, arm)]
    base_score, arm_score = (
        float(quantiles(one, np.ones(len(one), bool), share)) for one, share in zip(scores, (1 - PLAUSIBLE_QUANTILE, PLAUSIBLE_QUANTILE), strict=True)
    )
    pairs = _filled(base, arm, planned, base_score, arm_score)
    base_mean, arm_mean = pairs.means
    return PlausibleWorst(
        personas=len(pairs.personas),
        pairs=len(pairs.rows),
        base_mean=base_mean,
        arm_mean=arm_mean,
        difference=pairs.difference,
        interval=t_interval(pairs.differences),
        arm_score=arm_score,
        base_score=base_score,
        missing=2 * len(planned) - sum(map(len, scores)),
    )


def quantiles(values: np.ndarray, known: np.ndarray, share: float) -> np.ndarray:
    """Return a quantile of the known values along the last axis, interpolated linearly.

    Args:
        values: from 0 to 1.
        known: which values are known, of the same shape.
        share: the quantile, 0 to 1.
    """
    # unknown values are sorted to the end
    ordered, place = np.sort(np.where(known, values, 1.0), axis=-1), np.maximum(known.sum(axis=-1) - 1, 0) * share
    below, above = (np.take_along_axis(ordered, side(place).astype(int)[..., None], -1)[..., 0] for side in (np.floor, np.ceil))
    return below + (place - np.floor(place)) * (above - below)


def _filled(base: Conversations, arm: Conversations, planned: Sequence[tuple[int, int]], base_missing: float, arm_missing: float) -> Pairs:
    """Return the pairs of all planned conversations, with the given scores for missing ones."""

    def score(trial: Trial | None, missing: float) -> float:
        value = points(trial) if trial and trial.complete else None
        return missing if value is None else value

    return Pairs([(*key, score(base.get(key), base_missing), score(arm.get(key), arm_missing)) for key in sorted(planned)])
