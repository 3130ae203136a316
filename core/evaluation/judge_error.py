"""What a judge's errors do to a difference between arms: the difference corrected for them, and how much leniency towards one arm would undo it.

A judge that errs alike in both arms makes a difference smaller. One that is more lenient to an arm makes one out of nothing, and nothing in the scores shows
it: only a person's labels of both arms do (`core.evaluation.label_error`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.comparison import Comparison
from core.evaluation.decision import wanted_gain
from core.evaluation.outcomes import Pairs, Trial, by_arm, pair_up, points
from core.evaluation.paired_statistics import Interval
from core.judging.calibration import calibration_of, doubts
from core.judging.intervals import independent_of
from core.judging.label_statistics import Estimate
from core.packs.pack import Pack
from core.quantities import format_share
from core.records import Record
from core.settings.assessment import Judging
from core.storage.store import Store

DRAWS = 4_000
"""Of means and rates: the ends of an interval move by a fiftieth of its width from seed to seed."""
MOST_LENIENT = 6.0
"""Logits beyond which no leniency is looked for: a judge that finds 80 % of failures would find 1 %."""
LEAST_YOUDEN = 0.05
"""TPR + TNR − 1 below which verdicts say too little of the truth to be corrected."""


class Rate(Record):
    """A share that was measured, and how many independent verdicts it is worth."""

    share: FiniteFloat
    worth: FiniteFloat


class JudgeRates(Record):
    """What a judge was measured to be, over the criteria that make the score.

    Args:
        tpr: of the failures, what it finds; tnr: of the passes, what it lets pass.
        source: in words.
    """

    tpr: Rate
    tnr: Rate
    source: str


class Leniency(Record):
    """How much more lenient to the arm than to the base the judge would have to be.

    Args:
        logits: that are added to the log odds of its YES, whatever the truth.
        failures, passes: of 100, those that it would fail fewer for the arm than for the base.
    """

    logits: FiniteFloat
    failures: FiniteFloat
    passes: FiniteFloat


class JudgeError(Record):
    """A difference in view of the judge's errors.

    Args:
        difference: arm − base of the mean score, corrected for errors that are alike in both arms; none where the judge is no better than chance.
        interval: 95 %, over personas and over what the rates might be.
        no_longer_shipped: the least leniency with which an arm that is shipped would not have the gain that the rule wants, or the interval would reach 0.
        to_zero: that with which the interval would reach 0; none where it does anyway.
        no_gain: that with which the arm is no better; none where it is not.
    """

    rates: JudgeRates
    difference: FiniteFloat | None
    interval: Interval | None
    no_longer_shipped: Leniency | None = None
    to_zero: Leniency | None = None
    no_gain: Leniency | None = None


@dataclass(frozen=True)
class _Worlds:
    """Means of both arms and rates of the judge, as they might be: arrays of the same length."""

    base: np.ndarray
    arm: np.ndarray
    tpr: np.ndarray
    tnr: np.ndarray

    def corrected(self, logits: float) -> tuple[np.ndarray, np.ndarray]:
        """Return both arms' means corrected, if the judge is so much more lenient to the arm; NaN where it is no better than chance."""
        arm = _corrected(self.arm, *_lenient(self.tpr, self.tnr, logits))
        # so lenient a judge passes everything, and what it passes may be worth nothing
        return _corrected(self.base, self.tpr, self.tnr), arm if logits == 0 else np.nan_to_num(arm, nan=-1)

    def low(self, logits: float) -> float:
        """Return the lower end of the interval of the difference."""
        base, arm = self.corrected(logits)
        return float(np.nanpercentile(arm - base, 2.5))


def golden_rates(store: Store, pack: Pack, judges: Sequence[str], judging: Judging) -> JudgeRates | None:
    """Return what the judges of an evaluation were measured to be on golden conversations; none where they were not.

    Args:
        judges: one, or two that decide as a panel; how they are asked is `judging`.
    """
    found = calibration_of(store, pack, judges, judging)
    if found is None:
        return None
    scored = [one.rates for name, one in found.figures.criteria.items() if name in pack.rubric.criteria and not pack.rubric.criteria[name].head.gate]
    tpr = _pooled([one.tpr for one in scored], found.figures.verdicts.tpr)
    tnr = _pooled([one.tnr for one in scored], found.figures.verdicts.tnr)
    source = f"measured on {found.day}{doubts(found, pack, judging)} against {len(found.conversations)} golden conversations"
    return JudgeRates(tpr=tpr, tnr=tnr, source=source) if tpr and tnr else None


def _pooled(criteria: list[Estimate], together: Estimate) -> Rate | None:
    n = sum(one.n for one in criteria if one.value is not None)
    if n == 0 or together.value is None or together.interval is None:
        return None
    # verdicts on the same conversation depend on each other, and the interval over all criteria knows how much
    worth = min(1.0, independent_of(together.value, together.interval) / together.n)
    return Rate(share=sum(one.value * one.n for one in criteria if one.value is not None) / n, worth=n * worth)


def judge_error(pairs: Pairs, rates: JudgeRates, shipped: bool = False, improvement: float = 0.0, seed: int = 0) -> JudgeError:
    """Return a difference of mean scores in view of a judge's errors.

    A score is a weighted share of passed items, so that a judge that finds TPR of the failures and lets TNR of the passes pass makes a true mean of
    (mean − (1 − TPR)) / (TPR + TNR − 1) into the mean that is seen (Rogan and Gladen, one level below the pass rate). The interval is over means that
    have the t-distribution of the personas and rates that have the beta distribution of their measurement. Rates are taken for alike in all criteria.

    Args:
        pairs: the scores of both arms.
        shipped: whether the arm is shipped as it is judged; improvement: what share of the base's mean it must be better by for that.

    Source:
        Rogan & Gladen, "Estimating prevalence from the results of a screening test", Am J Epidemiol 107 (1978): 71–76. Tipping points: Yan, Lee & Li,
        "Missing data handling methods in medical device clinical trials", J Biopharm Stat 19 (2009): 1085–1098, with leniency for what is missing.
    """
    seen = _Worlds(*(np.array([value]) for value in (*pairs.means, rates.tpr.share, rates.tnr.share)))
    base, arm = seen.corrected(0)
    worlds = _drawn(pairs, rates, seed)
    if np.isnan(base[0]) or np.isnan(worlds.corrected(0)[0]).mean() > 0.01:
        return JudgeError(rates=rates, difference=None, interval=None)
    difference, ends = float(arm[0] - base[0]), np.nanpercentile(worlds.corrected(0)[1] - worlds.corrected(0)[0], [2.5, 97.5])

    def gain(logits: float) -> float:
        before, after = seen.corrected(logits)
        return float(after[0] - before[0])

    def short(logits: float) -> float:
        return min(gain(logits) - float(wanted_gain(base[0], improvement)), worlds.low(logits))

    def leniency(above: Callable[[float], float]) -> Leniency | None:
        logits = _crossing(above)
        if logits is None:
            return None
        tpr, tnr = _lenient(seen.tpr, seen.tnr, logits)
        return Leniency(logits=logits, failures=100 * (rates.tpr.share - float(tpr[0])), passes=100 * (float(tnr[0]) - rates.tnr.share))

    return JudgeError(
        rates=rates,
        difference=difference,
        interval=(max(-1.0, float(ends[0])), min(1.0, float(ends[1]))),
        no_longer_shipped=leniency(short) if shipped else None,
        to_zero=leniency(worlds.low),
        no_gain=leniency(gain),
    )


def judge_errors(played: Sequence[Trial], comparison: Comparison, rates: JudgeRates | None) -> dict[str, JudgeError]:
    """Return `judge_error` of each arm; empty where the judge was never measured."""
    if rates is None:
        return {}
    conversations = by_arm(played, comparison.base)
    return {
        arm: judge_error(
            pair_up(conversations[comparison.base], conversations[arm], points), rates, one.decided.decision == "ship", comparison.rule.improvement
        )
        for arm, one in comparison.comparisons.items()
    }


def unmeasured_caveat(judges: Sequence[str]) -> str:
    """Say that nobody knows the errors of an evaluation's judges."""
    return (
        f"Nobody has measured this judge ({' + '.join(judges)}): its errors make a difference look smaller, and a judge that is more lenient to one arm makes "
        f"one out of nothing. Measure it (understudy calibrate --judges {','.join(judges)}), and have a person judge a sample "
        "(understudy review --evaluation latest)."
    )


def judge_error_sentence(error: JudgeError, arm: str, base: str) -> str:
    """Say what a judge's errors mean for a difference, for its reader beside the decision."""
    rates = error.rates
    known = f"The judge finds {format_share(rates.tpr.share)} of failures and lets {format_share(rates.tnr.share)} of passes pass ({rates.source})."
    if error.difference is None or error.interval is None:
        return f"{known} That is too close to chance to correct the difference by it."
    corrected = (
        f"If it errs alike in both arms, the difference without its errors is {error.difference:+.3f} (95 % interval {error.interval[0]:+.3f} to "
        f"{error.interval[1]:+.3f})."
    )
    undone = [
        f"{one.failures:.0f} of 100 failures more ({one.logits:.1f} logits), {what}"
        for one, what in (
            (error.no_longer_shipped, "and it would not be shipped"),
            (error.to_zero, "and the interval would reach 0"),
            (error.no_gain, "and there would be no gain"),
        )
        if one
    ]
    if not undone:
        return f"{known} {corrected}"
    return (
        f"{known} {corrected} If it is more lenient to {arm}, letting pass for it more than for {base}: {'; '.join(undone)}. Golden conversations belong to no "
        "arm and cannot exclude that; a person's labels can (understudy review --evaluation latest)."
    )


def _corrected(mean: np.ndarray, tpr: np.ndarray, tnr: np.ndarray) -> np.ndarray:
    youden = tpr + tnr - 1
    return np.where(youden > LEAST_YOUDEN, (mean - (1 - tpr)) / np.maximum(youden, LEAST_YOUDEN), np.nan)


def _lenient(tpr: np.ndarray, tnr: np.ndarray, logits: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the rates of a judge whose log odds of YES are larger, whatever the truth."""
    from scipy import special

    # a share of 0 or 1 was measured on few, and its logit has no end
    low, high = np.clip(tpr, 0.005, 0.995), np.clip(tnr, 0.005, 0.995)
    if logits == 0:
        return tpr, tnr
    return special.expit(special.logit(low) - logits), special.expit(special.logit(high) + logits)


def _drawn(pairs: Pairs, rates: JudgeRates, seed: int) -> _Worlds:
    draw, values = np.random.default_rng(seed), np.array([(base, arm) for _, base, arm in pairs.personas.values()])
    personas = len(values)
    spread = np.cov(values.T) / personas if personas > 1 else np.zeros((2, 2))
    scale = np.sqrt(max(1, personas - 1) / draw.chisquare(max(1, personas - 1), DRAWS))
    means = np.array(pairs.means) + scale[:, None] * draw.multivariate_normal([0, 0], spread, DRAWS, method="svd")
    shares = [draw.beta(rate.share * rate.worth + 0.5, (1 - rate.share) * rate.worth + 0.5, DRAWS) for rate in (rates.tpr, rates.tnr)]
    return _Worlds(means[:, 0], means[:, 1], shares[0], shares[1])


def _crossing(above: Callable[[float], float]) -> float | None:
    """Return the least leniency at which a value that falls with it is 0; none where it is not above 0 to begin with, or never falls so far."""
    low, high = 0.0, MOST_LENIENT
    if not above(low) > 0 or above(high) > 0:
        return None
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > 0 else (low, middle)
    return high
