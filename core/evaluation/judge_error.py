"""The effect of a judge's errors on a difference between arms: the corrected difference, and the leniency towards one arm that would undo it.

A judge with the same error rates in both arms makes a difference smaller. A judge that is more lenient to one arm can create a difference, which the scores
do not reveal: only a person's labels of both arms do (`core.evaluation.labelled`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import FiniteFloat

from core.evaluation.comparison import Comparison
from core.evaluation.decision import required_gain
from core.evaluation.outcomes import Pairs, Trial, by_arm, pair_up, points
from core.evaluation.paired_statistics import Interval
from core.judging.calibration import calibration_of, doubts
from core.judging.intervals import independent_of
from core.judging.label_statistics import Estimate
from core.packs.pack import Pack
from core.quantities import format_difference, format_interval, format_share
from core.records import Record
from core.settings.assessment import Judging
from core.storage.store import Store

DRAWS = 4_000
"""Draws of means and rates; from seed to seed the ends of an interval then move by 2 % of its width."""
MAX_LENIENCY = 6.0
"""The largest leniency that is considered, in logits: a judge that finds 80 % of failures would then find 1 %."""
MIN_POSSIBLE = 0.05
"""Share of the draws of means and rates that must give true means from 0 to 1; with a smaller one the rates do not hold for these conversations."""
MIN_YOUDEN = 0.05
"""TPR + TNR − 1 below which verdicts are too close to chance to correct a difference."""


class Rate(Record):
    """A measured share and its effective sample size.

    Args:
        share: 0 to 1.
        worth: number of independent verdicts that would give the same precision.
    """

    share: FiniteFloat
    worth: FiniteFloat


class JudgeRates(Record):
    """A judge's measured rates, over the criteria of the score.

    Args:
        tpr: share of failures that the judge finds.
        tnr: share of passes that the judge passes.
        source: where the rates come from, for the reader.
    """

    tpr: Rate
    tnr: Rate
    source: str


class Leniency(Record):
    """How much more lenient the judge is to the arm than to the base.

    Args:
        logits: added to the log odds of a YES, whether it is right or wrong.
        failures, passes: how many fewer of 100 failures, and of 100 passes, the judge fails for the arm than for the base.
    """

    logits: FiniteFloat
    failures: FiniteFloat
    passes: FiniteFloat


class JudgeError(Record):
    """A difference corrected for the judge's errors, and the leniencies that would undo it.

    Args:
        rates: the judge's rates.
        difference: arm − base of the mean score, if the judge has the same rates in both arms; None if `reason` says why it cannot be corrected.
        interval: 95 % interval, with the uncertainty of the personas and of the rates.
        no_longer_shipped: the smallest leniency with which an arm that ships would miss the required gain, or its interval would reach 0.
        to_zero: the smallest leniency with which the interval reaches 0; None if it does without any.
        no_gain: the smallest leniency with which the arm is no better; None if it is no better without any.
    """

    rates: JudgeRates
    difference: FiniteFloat | None
    interval: Interval | None
    reason: str | None = None
    no_longer_shipped: Leniency | None = None
    to_zero: Leniency | None = None
    no_gain: Leniency | None = None


@dataclass(frozen=True)
class _Draws:
    """Possible means of both arms and possible rates of the judge: arrays of the same length."""

    base: np.ndarray
    arm: np.ndarray
    tpr: np.ndarray
    tnr: np.ndarray

    def corrected(self, logits: float) -> tuple[np.ndarray, np.ndarray]:
        """Return both arms' corrected means for a leniency to the arm, from 0 to 1; NaN where the judge is too close to chance."""
        arm = np.clip(_corrected(self.arm, *_lenient(self.tpr, self.tnr, logits)), 0, 1)
        # a judge that is so lenient passes everything, so the arm's true mean may be arbitrarily low
        return np.clip(_corrected(self.base, self.tpr, self.tnr), 0, 1), arm if logits == 0 else np.nan_to_num(arm, nan=-1)

    @property
    def possible(self) -> float:
        """The share of draws in which the rates allow both observed means."""
        allowed = [(1 - self.tpr <= mean) & (mean <= self.tnr) for mean in (self.base, self.arm)]
        return float(np.all(allowed, axis=0).mean())

    def low(self, logits: float) -> float:
        """Return the lower end of the 95 % interval of the difference, for a leniency to the arm."""
        base, arm = self.corrected(logits)
        return float(np.nanpercentile(arm - base, 2.5))


def golden_rates(store: Store, pack: Pack, judges: Sequence[str], judging: Judging) -> JudgeRates | None:
    """Return the rates of an evaluation's judges, as measured on golden conversations; None if they were not measured.

    Args:
        judges: references of the judges; several decide as a panel.
        judging: settings of how they are asked.
    """
    calibration = calibration_of(store, pack, judges, judging)
    if calibration is None:
        return None
    figures, criteria = calibration.figures, pack.rubric.criteria
    scored = [one.rates for name, one in figures.criteria.items() if name in criteria and not criteria[name].head.gate]
    tpr = _pooled([one.tpr for one in scored], figures.verdicts.tpr)
    tnr = _pooled([one.tnr for one in scored], figures.verdicts.tnr)
    source = f"measured on {calibration.day}{doubts(calibration, pack, judging)} against {len(calibration.conversations)} golden conversations"
    return JudgeRates(tpr=tpr, tnr=tnr, source=source) if tpr and tnr else None


def _pooled(criteria: list[Estimate], together: Estimate) -> Rate | None:
    """Return the rate over several criteria; None if it was not measured.

    Args:
        criteria: the rate of each criterion.
        together: the rate over all verdicts, with an interval that accounts for their dependence.
    """
    n = sum(one.n for one in criteria if one.value is not None)
    if n == 0 or together.value is None or together.interval is None:
        return None
    # verdicts on the same conversation are correlated, and the interval over all criteria shows how much
    worth = min(1.0, independent_of(together.value, together.interval) / together.n)
    return Rate(share=sum(one.value * one.n for one in criteria if one.value is not None) / n, worth=n * worth)


def judge_error(pairs: Pairs, rates: JudgeRates, shipped: bool = False, improvement: float = 0.0, seed: int = 0) -> JudgeError:
    """Return a difference of mean scores corrected for a judge's errors.

    A score is a weighted share of passed criteria. With a judge that finds a share TPR of the failures and passes a share TNR of the passes, an observed mean
    therefore corresponds to a true mean of (mean − (1 − TPR)) / (TPR + TNR − 1) (Rogan and Gladen, applied to criteria in place of pass rates). The interval
    is taken over draws of the means from the t distribution of the personas, and of the rates from the beta distribution of their measurement. The rates are
    assumed to be the same for all criteria.

    Args:
        pairs: the scores of both arms.
        rates: the judge's rates.
        shipped: whether the decision by the judge is "ship".
        improvement: required gain as a share of the base's mean.
        seed: seed of the draws.

    Source:
        Rogan & Gladen, "Estimating prevalence from the results of a screening test", Am J Epidemiol 107 (1978): 71–76. Tipping points: Yan, Lee & Li,
        "Missing data handling methods in medical device clinical trials", J Biopharm Stat 19 (2009): 1085–1098, with leniency in place of missing values.
    """
    observed = _Draws(*(np.array([value]) for value in (*pairs.means, rates.tpr.share, rates.tnr.share)))
    base, arm = observed.corrected(0)
    draws = _drawn(pairs, rates, seed)
    if np.isnan(base[0]) or np.isnan(draws.corrected(0)[0]).mean() > 0.01:
        return JudgeError(rates=rates, difference=None, interval=None, reason="That is too close to chance to correct the difference.")
    if draws.possible < MIN_POSSIBLE:
        return JudgeError(rates=rates, difference=None, interval=None, reason=_impossible(pairs, rates))
    difference, ends = float(arm[0] - base[0]), np.nanpercentile(draws.corrected(0)[1] - draws.corrected(0)[0], [2.5, 97.5])

    def gain(logits: float) -> float:
        before, after = observed.corrected(logits)
        return float(after[0] - before[0])

    def surplus(logits: float) -> float:
        return min(gain(logits) - float(required_gain(base[0], improvement)), draws.low(logits))

    def leniency(above: Callable[[float], float]) -> Leniency | None:
        logits = _crossing(above)
        if logits is None:
            return None
        tpr, tnr = _lenient(observed.tpr, observed.tnr, logits)
        return Leniency(logits=logits, failures=100 * (rates.tpr.share - float(tpr[0])), passes=100 * (float(tnr[0]) - rates.tnr.share))

    return JudgeError(
        rates=rates,
        difference=difference,
        interval=(max(-1.0, float(ends[0])), min(1.0, float(ends[1]))),
        no_longer_shipped=leniency(surplus) if shipped else None,
        to_zero=leniency(draws.low),
        no_gain=leniency(gain),
    )


def _impossible(pairs: Pairs, rates: JudgeRates) -> str:
    base, arm = pairs.means
    return (
        f"With such rates a mean score is between {1 - rates.tpr.share:.3f} and {rates.tnr.share:.3f}, and the means are {base:.3f} and {arm:.3f}. The rates "
        "therefore do not hold for these conversations, and the difference cannot be corrected."
    )


def judge_errors(played: Sequence[Trial], comparison: Comparison, rates: JudgeRates | None) -> dict[str, JudgeError]:
    """Return `judge_error` of each arm; an empty dict if the judge was not measured."""
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
    """Return the caveat that the error rates of an evaluation's judges are not known."""
    return (
        f"This judge has not been measured ({' + '.join(judges)}): its errors make a difference look smaller, and a judge that is more lenient to one arm "
        f"creates a difference where there is none. Measure it (understudy calibrate --judges {','.join(judges)}), and have a person judge a sample "
        "(understudy review --evaluation latest)."
    )


def judge_error_sentence(error: JudgeError, arm: str, base: str) -> str:
    """Return the sentences that state what the judge's errors mean for a difference."""
    rates = error.rates
    measured = f"The judge finds {format_share(rates.tpr.share)} of failures and lets {format_share(rates.tnr.share)} of passes pass ({rates.source})."
    if error.difference is None or error.interval is None:
        return f"{measured} {error.reason or 'The difference cannot be corrected.'}"
    corrected = (
        f"If these rates are the same in both arms, the difference without its errors is {format_difference(error.difference)} (95 % interval "
        f"{format_interval(error.interval)})."
    )
    undone = [
        f"with {one.failures:.0f} more of 100 failures ({one.logits:.1f} logits) {what}"
        for one, what in (
            (error.no_longer_shipped, "it would not be shipped"),
            (error.to_zero, "the interval would reach 0"),
            (error.no_gain, "there would be no gain"),
        )
        if one
    ]
    if not undone:
        return f"{measured} {corrected}"
    return (
        f"{measured} {corrected} If it is more lenient to {arm} and passes more failures there than for {base}: {'; '.join(undone)}. Golden conversations "
        "belong to no arm and cannot exclude that; a person's labels can (understudy review --evaluation latest)."
    )


def _corrected(mean: np.ndarray, tpr: np.ndarray, tnr: np.ndarray) -> np.ndarray:
    youden = tpr + tnr - 1
    return np.where(youden > MIN_YOUDEN, (mean - (1 - tpr)) / np.maximum(youden, MIN_YOUDEN), np.nan)


def _lenient(tpr: np.ndarray, tnr: np.ndarray, logits: float) -> tuple[np.ndarray, np.ndarray]:
    """Return the TPR and TNR of a judge with `logits` added to its log odds of YES, whether that is right or wrong."""
    from scipy import special

    # a share of 0 or 1 comes from few verdicts, and its logit is infinite
    low, high = np.clip(tpr, 0.005, 0.995), np.clip(tnr, 0.005, 0.995)
    if logits == 0:
        return tpr, tnr
    return special.expit(special.logit(low) - logits), special.expit(special.logit(high) + logits)


def _drawn(pairs: Pairs, rates: JudgeRates, seed: int) -> _Draws:
    draw, values = np.random.default_rng(seed), np.array([(base, arm) for _, base, arm in pairs.personas.values()])
    personas = len(values)
    spread = np.cov(values.T) / personas if personas > 1 else np.zeros((2, 2))
    scale = np.sqrt(max(1, personas - 1) / draw.chisquare(max(1, personas - 1), DRAWS))
    means = np.array(pairs.means) + scale[:, None] * draw.multivariate_normal([0, 0], spread, DRAWS, method="svd")
    shares = [draw.beta(rate.share * rate.worth + 0.5, (1 - rate.share) * rate.worth + 0.5, DRAWS) for rate in (rates.tpr, rates.tnr)]
    return _Draws(means[:, 0], means[:, 1], shares[0], shares[1])


def _crossing(above: Callable[[float], float]) -> float | None:
    """Return the smallest leniency, in logits, at which a decreasing function of it reaches 0.

    The result is None if the function is not above 0 without leniency, or still above 0 at `MAX_LENIENCY`.
    """
    low, high = 0.0, MAX_LENIENCY
    if not above(low) > 0 or above(high) > 0:
        return None
    for _ in range(20):
        middle = (low + high) / 2
        low, high = (middle, high) if above(middle) > 0 else (low, middle)
    return high
