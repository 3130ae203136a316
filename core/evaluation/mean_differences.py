"""Paired differences between two arms over personas: of the score, the pass rate, and each category and criterion."""

from collections import Counter
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.outcomes import Pairs, Trial, category_score, criterion_value, pair_up
from core.evaluation.paired_statistics import (
    EXACT,
    EffectSize,
    Interval,
    PairedT,
    bootstrap_interval,
    effect_size,
    holm,
    least_p,
    mcnemar_p,
    paired_t,
    relative_interval,
    sign_flip_p,
    t_interval,
)
from core.records import Answer, Record

EQUAL_REASON = "all personas differ by the same, so the interval is of the share of personas who may differ otherwise (rule of three)"

Conversations = Mapping[tuple[int, int], Trial]
"""An arm's conversations, by persona and trial."""


class Means(Record):
    """Both arms' means over personas with equal weight, and their difference, arm − base.

    Args:
        personas: personas with at least one pair.
        pairs: pairs of conversations.
        interval: 95 % t interval over personas; None if there is only one.
    """

    personas: int
    pairs: int
    base_mean: FiniteFloat
    arm_mean: FiniteFloat
    difference: FiniteFloat
    interval: Interval | None


class MeanDifference(Means):
    """A difference of means with its test.

    Args:
        p: two-sided, of the sign-flip permutation test over personas.
        least_p: the smallest p that the test can give with these personas.
        reason: why the interval is not a t interval; None if it is.
    """

    p: FiniteFloat
    least_p: FiniteFloat
    reason: str | None = None


class ScoreDifference(MeanDifference):
    """The difference of mean scores, which is the primary outcome.

    Args:
        relative: difference as a share of the base's mean; None if that is 0.
        relative_interval: 95 % interval of `relative`; None if it is unbounded.
        p_holm: p, Holm-adjusted for the number of arms that are compared with the base; the decision uses it.
        exact: whether all sign patterns were enumerated.
        bootstrap_interval: 95 % percentile interval that resamples personas with all their conversations; too narrow with few personas, so not quoted.
        persona_t: paired t-test over the personas' means.
        naive_t: paired t-test over pairs of conversations, as if those of one persona were independent; no decision uses it.
        effect: standardised difference over personas.
    """

    relative: FiniteFloat | None
    relative_interval: Interval | None = None
    p_holm: FiniteFloat
    exact: bool
    bootstrap_interval: Interval | None
    persona_t: PairedT
    naive_t: PairedT
    effect: EffectSize


class PassDifference(MeanDifference):
    """The difference of pass rates; means, difference, interval and p are over personas, as for the score.

    The permutation test over personas is McNemar's test for clustered pairs. Its statistic is that of Durkalski et al., "Analysis of clustered matched-pair
    data", Stat Med 22 (2003): 2417–2428: the sum over personas of (gained − lost) / pairs. It is compared with its sign flips, because there are too few
    personas for chi-square.

    Args:
        base_passed, arm_passed: pairs in which the base, or the arm, passed.
        gained, lost: discordant pairs, in which only the arm, or only the base, passed.
        naive_mcnemar_p: exact McNemar test over pairs, as if those of one persona were independent.
    """

    base_passed: int
    arm_passed: int
    gained: int
    lost: int
    naive_mcnemar_p: FiniteFloat


class PartDifference(MeanDifference):
    """The difference of a category's mean score, or of the share of pairs that do not fail a criterion.

    Args:
        p_holm: p, Holm-adjusted over all categories, or over all criteria.
        answers: for a criterion, the number of pairs with each answer, by `base` and `arm`; empty for a category.
    """

    p_holm: FiniteFloat
    answers: dict[str, dict[str, int]]

    def never_applied(self, side: Literal["base", "arm"]) -> bool:
        """Return whether an arm met a criterion in all pairs only because it never applied, which shows nothing about the arm."""
        return self.answers.get(side, {}).keys() == {Answer.NA.value} and (self.base_mean if side == "base" else self.arm_mean) == 1

    @property
    def shown(self) -> bool:
        """Whether the difference shows anything: a criterion must have applied in both arms."""
        return not (self.never_applied("base") or self.never_applied("arm"))


def score_difference(pairs: Pairs, p_holm: float, resamples: int, flips: int) -> ScoreDifference:
    """Return the difference of mean scores.

    Args:
        pairs: scores of both arms.
        p_holm: its p, Holm-adjusted for the other arms.
        resamples: number of bootstrap samples.
        flips: number of sign patterns, if they are sampled.
    """
    base, _ = pairs.means
    return ScoreDifference(
        **_figures(pairs, flips),
        relative=pairs.difference / base if base > 0 else None,
        relative_interval=relative_interval(*np.array([(before, after) for _, before, after in pairs.personas.values()]).T),
        p_holm=p_holm,
        exact=int(np.count_nonzero(pairs.differences)) <= EXACT,
        bootstrap_interval=bootstrap_interval(pairs.differences, resamples),
        persona_t=paired_t(pairs.differences),
        naive_t=paired_t(pairs.each),
        effect=effect_size(pairs.differences),
    )


def pass_difference(pairs: Pairs, flips: int) -> PassDifference:
    """Return the difference of pass rates, from pairs of 1 (passed) and 0 (failed)."""
    both = Counter((bool(base), bool(arm)) for _, _, base, arm in pairs.rows)
    gained, lost = both[False, True], both[True, False]
    return PassDifference(
        **_figures(pairs, flips),
        base_passed=both[True, True] + lost,
        arm_passed=both[True, True] + gained,
        gained=gained,
        lost=lost,
        naive_mcnemar_p=mcnemar_p(gained, lost),
    )


def category_differences(base: Conversations, arm: Conversations, flips: int) -> tuple[dict[str, PartDifference], dict[str, str]]:
    """Return the difference in each category, and the reason for each category that cannot be compared."""
    names = {name for item in (*base.values(), *arm.values()) if item.complete and item.score for name in item.score.category_scores}
    return _family({name: pair_up(base, arm, category_score(name)) for name in sorted(names)}, {}, flips)


def criterion_differences(base: Conversations, arm: Conversations, flips: int) -> tuple[dict[str, PartDifference], dict[str, str]]:
    """Return the difference in each criterion, gates included, and the reason for each criterion that cannot be compared."""
    names = sorted({name for item in (*base.values(), *arm.values()) if item.complete for name in item.answers})
    pairs = {name: pair_up(base, arm, criterion_value(name)) for name in names}
    answers = {
        name: {
            whose: dict(sorted(Counter(conversations[persona, trial].answers[name].value for persona, trial, _, _ in paired.rows).items()))
            for whose, conversations in (("base", base), ("arm", arm))
        }
        for name, paired in pairs.items()
    }
    return _family(pairs, answers, flips)


def _family(pairs: Mapping[str, Pairs], answers: Mapping[str, dict[str, dict[str, int]]], flips: int) -> tuple[dict[str, PartDifference], dict[str, str]]:
    enough = {name: _figures(paired, flips) for name, paired in pairs.items() if len(paired.personas) >= 2}
    adjusted = holm({name: figures["p"] for name, figures in enough.items()})
    differences = {name: PartDifference(**figures, p_holm=adjusted[name], answers=answers.get(name, {})) for name, figures in enough.items()}
    few = {name: f"personas that have it in both arms: {len(paired.personas)}; at least 2 are needed" for name, paired in pairs.items() if name not in enough}
    return differences, few


def _figures(pairs: Pairs, flips: int) -> dict[str, Any]:
    """Return the fields that every difference has."""
    differences, (base, arm) = pairs.differences, pairs.means
    return {
        "personas": len(differences),
        "pairs": len(pairs.rows),
        "base_mean": base,
        "arm_mean": arm,
        "difference": pairs.difference,
        "interval": t_interval(differences),
        "p": float(sign_flip_p(differences, flips)),
        "least_p": least_p(differences, flips),
        "reason": EQUAL_REASON if np.ptp(differences) == 0 else None,
    }
