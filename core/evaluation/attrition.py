"""Missing conversations of an evaluation, and whether they could bias it."""

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.mean_differences import Conversations, Means
from core.evaluation.outcomes import Pairs, Trial, count_reasons, points
from core.evaluation.paired_statistics import t_interval
from core.records import Record

UNLUCKY = 0.05
"""Share of an arm's completed conversations that went worse than what its missing ones are held for, or of the base's that went better: as far from the usual
as a 95 % interval reaches. Scores of 0 and 1 in place of these (`bounds`) would let no gain below some 20 % pass a usual loss of 2 %."""


class Missing(Record):
    """An arm's conversations by outcome; the four parts add up to the planned number.

    Args:
        planned: every persona and trial that any arm has.
        completed: those that can be compared.
        incomplete: judged, but an answer could not be used.
        simulator_broke: spoiled by the simulated user.
        lost: the others, among them those that were not handed in at all.
        reasons: why conversations were lost or spoiled, and how many for each reason, the most frequent first.
    """

    planned: int
    completed: int
    incomplete: int
    simulator_broke: int
    lost: int
    reasons: dict[str, int]


MissingKind = Literal["not completed", "incomplete assessments", "broken by the simulated user"]


class MissingShare(Record):
    """One way to be missing, in both arms.

    Args:
        base_share, arm_share: of the planned conversations.
        p: of Fisher's exact test, which takes conversations for independent and so flags rather too much.
        unequal: whether the arms differ by more than chance, or by more than the settings allow.
    """

    kind: MissingKind
    base_share: FiniteFloat
    arm_share: FiniteFloat
    p: FiniteFloat
    unequal: bool


class Bounds(Record):
    """Between which values the difference would be if nothing were missing.

    Args:
        worst: had each missing conversation of the arm scored 0 and each of the base 1.
        best: the other way round.
        arm_missing, base_missing: conversations.
    """

    worst: FiniteFloat
    best: FiniteFloat
    arm_missing: int
    base_missing: int


class PlausibleWorst(Means):
    """The difference if missing conversations had gone badly for the arm, but not worse than conversations do.

    Args:
        arm_score, base_score: what each missing conversation of the arm is held for, and each of the base.
        missing: conversations of either.
    """

    arm_score: FiniteFloat
    base_score: FiniteFloat
    missing: int


def count_missing(conversations: Mapping[tuple[int, int], Trial], planned: int) -> Missing:
    """Count an arm's conversations by outcome.

    Args:
        planned: how many it was to have.
    """
    items = list(conversations.values())
    completed, broke = sum(item.complete for item in items), sum(item.simulator_broke for item in items)
    incomplete = sum(not item.complete and item.score is not None and not item.simulator_broke for item in items)
    reasons = count_reasons(items)
    if absent := planned - len(items):
        reasons["no conversation was handed in"] = absent
    return Missing(
        planned=planned,
        completed=completed,
        incomplete=incomplete,
        simulator_broke=broke,
        lost=planned - completed - incomplete - broke,
        reasons=reasons,
    )


def missing_shares(base: Missing, arm: Missing, alpha: float, allowed: float) -> list[MissingShare]:
    """Compare the missing conversations of two arms; if they depend on the arm, the rest is biased.

    Args:
        alpha: Fisher's p below which they are unequal.
        allowed: difference of the shares above which they are, whatever p.
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
    """Return the difference of mean scores if the missing conversations had scored 0 or 1, whichever is worse, or better, for the arm.

    Source:
        Manski, "Nonparametric bounds on treatment effects", American Economic Review 80 (1990): 319–323.
    """
    worst, best = (_filled(base, arm, planned, *missing).difference for missing in ((1, 0), (0, 1)))
    arm_missing, base_missing = (sum(not (key in trials and trials[key].complete) for key in planned) for trials in (arm, base))
    return Bounds(worst=worst, best=best, arm_missing=arm_missing, base_missing=base_missing)


def plausible_worst(base: Conversations, arm: Conversations, planned: Sequence[tuple[int, int]]) -> PlausibleWorst:
    """Return the difference if each missing conversation of the arm had scored as its worst do, and each of the base as its best.

    Args:
        base, arm: at least one is completed in each.

    Source:
        A sensitivity analysis with a stated departure from "missing at random", as asked for by the National Research Council, The Prevention and Treatment
        of Missing Data in Clinical Trials (2010), chapter 5.
    """
    done = [np.array([value for item in trials.values() if item.complete and (value := points(item)) is not None]) for trials in (base, arm)]
    base_score, arm_score = (float(quantiles(one, np.ones(len(one), bool), share)) for one, share in zip(done, (1 - UNLUCKY, UNLUCKY), strict=True))
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
        missing=2 * len(planned) - sum(map(len, done)),
    )


def quantiles(values: np.ndarray, known: np.ndarray, share: float) -> np.ndarray:
    """Return a quantile of the known values along the last axis, interpolated linearly.

    Args:
        values: 0 to 1; known: of the same shape.
        share: of the known values that lie below, 0 to 1.
    """
    # what is not known comes last
    ordered, place = np.sort(np.where(known, values, 1.0), axis=-1), np.maximum(known.sum(axis=-1) - 1, 0) * share
    below, above = (np.take_along_axis(ordered, side(place).astype(int)[..., None], -1)[..., 0] for side in (np.floor, np.ceil))
    return below + (place - np.floor(place)) * (above - below)


def _filled(base: Conversations, arm: Conversations, planned: Sequence[tuple[int, int]], base_missing: float, arm_missing: float) -> Pairs:
    """Return all that was planned in pairs, with these scores for what is missing."""

    def score(trial: Trial | None, missing: float) -> float:
        value = points(trial) if trial and trial.complete else None
        return missing if value is None else value

    return Pairs([(*key, score(base.get(key), base_missing), score(arm.get(key), arm_missing)) for key in sorted(planned)])
