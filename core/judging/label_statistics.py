"""Shares and their uncertainty: intervals, a judge's stability over repeats, and a pass rate corrected for the judge's errors.

A figure that cannot be had is None and says why; it is never NaN, and never a perfect 1 for want of data. Where transcripts are judged by several
criteria, the transcript is what is resampled, because its criteria are not independent.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.judging.intervals import Z, wilson_interval
from core.records import Answer

RESAMPLES = 2000
"""Bootstrap samples behind an interval: its ends move by a hundredth of its width from seed to seed."""
FEW = 30
"""With fewer transcripts an estimate has a warning."""


@dataclass(frozen=True)
class Estimate:
    """A figure and how far it can be trusted.

    Args:
        value: none where it is not defined.
        n: transcripts that it rests on.
        interval: 95 %; none where it cannot be had.
        reason: why there is no value, or no interval.
        warning: set where n is small.
    """

    value: float | None
    n: int
    interval: tuple[float, float] | None = None
    reason: str | None = None
    warning: str | None = None


@dataclass(frozen=True)
class FlipRate:
    """How stable a judge is when it judges the same again.

    Args:
        share: of those judged at least twice, how many have not the same answer in all repeats; grows with the number of repeats.
        pairwise: probability that two judgements of the same differ; comparable between numbers of repeats.
    """

    share: Estimate
    pairwise: Estimate


@dataclass(frozen=True)
class FlipRates:
    """Flip rates over all (transcript, criterion), and of each criterion."""

    overall: FlipRate
    criteria: dict[str, FlipRate]


def share_of(successes: int, n: int, few: int, none: str) -> Estimate:
    """Return a share with its Wilson interval.

    Args:
        successes, n: counts, 0 ≤ successes ≤ n.
        few: below this n the estimate bears a warning.
        none: the reason that is given when n is 0.

    Raises:
        ValueError: the counts are no share.
    """
    if n == 0:
        return Estimate(None, 0, reason=none)
    return Estimate(successes / n, n, wilson_interval(successes, n), warning=_small(n, few))


def resampled(totals: np.ndarray, statistic: Callable[[np.ndarray], np.ndarray], undefined: str, resamples: int, few: int, seed: int) -> Estimate:
    """Return a statistic of sums over transcripts, with a 95 % percentile bootstrap interval over transcripts.

    Equal transcripts are drawn together, by a multinomial of their numbers: the same distribution as drawing one by one, and no cost for thousands.
    Resamples in which the statistic is not defined are left out; there is no interval where the others are all equal, for that would claim certainty.

    Args:
        totals: (transcripts, …), what each transcript adds to the sums; one that adds nothing does not count.
        statistic: from sums of shape (…, as totals without its first axis) to values of shape (…), NaN where not defined.
        undefined: the reason that is given when the statistic is not defined.
        resamples: bootstrap samples, at least 1.
        few: below this number of transcripts the estimate bears a warning.

    Source:
        Efron & Tibshirani, An Introduction to the Bootstrap (1993), chapter 13.
    """
    rows = totals.reshape(len(totals), math.prod(totals.shape[1:]))
    rows = rows[rows.any(axis=1)]
    n = len(rows)
    if n < 2:
        return Estimate(None, n, reason=f"transcripts that have the answers for it: {n}; at least 2 are needed")
    value = float(statistic(rows.sum(axis=0).reshape(totals.shape[1:])))
    if math.isnan(value):
        return Estimate(None, n, reason=undefined, warning=_small(n, few))
    distinct, numbers = np.unique(rows, axis=0, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(n, numbers / n, size=resamples)
    values = statistic((drawn @ distinct).reshape(resamples, *totals.shape[1:]))
    values = values[~np.isnan(values)]
    if len(values) == 0 or np.ptp(values) < 1e-12:
        return Estimate(value, n, reason="no interval: all resamples are equal", warning=_small(n, few))
    low, high = np.percentile(values, [2.5, 97.5])
    return Estimate(value, n, (float(low), float(high)), warning=_small(n, few))


def ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """Divide, giving NaN where the divisor is not positive."""
    return np.divide(top, bottom, out=np.full(np.shape(top), np.nan), where=bottom > 0)


def flip_rates(answers: Mapping[str, Mapping[str, Sequence[str | None]]], resamples: int, few: int, seed: int = 0) -> FlipRates:
    """Return how often repeated judgements of the same transcript differ.

    A criterion's share has a Wilson interval, because its transcripts are independent; the other intervals are bootstrapped over transcripts.

    Args:
        answers: by criterion and transcript, the answers of the repeats; ERROR and None are left out, and so is what then has fewer than two.
        resamples: bootstrap samples.
        few: below this number of transcripts an estimate bears a warning.

    Source:
        The pairwise probability is 1 − P_i of Fleiss (1971), averaged over i; without bias by Simpson, "Measurement of diversity", Nature 163 (1949): 688.
    """
    transcripts = sorted({name for by_transcript in answers.values() for name in by_transcript})
    totals = np.zeros((len(transcripts), len(answers), 3))
    for column, by_transcript in enumerate(answers.values()):
        for row, name in enumerate(transcripts):
            totals[row, column] = _flips(by_transcript.get(name, ()))

    def rate(counts: np.ndarray, which: int) -> Estimate:
        return resampled(counts, lambda sums: ratio(sums[..., which].sum(axis=-1), sums[..., 2].sum(axis=-1)), "nothing was judged twice", resamples, few, seed)

    criteria = {}
    for column, criterion in enumerate(answers):
        column_totals = totals[:, [column]]
        flipped, judged = (int(column_totals[..., which].sum()) for which in (0, 2))
        criteria[criterion] = FlipRate(share_of(flipped, judged, few, "nothing was judged twice"), rate(column_totals, 1))
    return FlipRates(FlipRate(rate(totals, 0), rate(totals, 1)), criteria)


def rogan_gladen(passed: int, judged: int, true_positives: int, positives: int, true_negatives: int, negatives: int, few: int) -> Estimate:
    """Return a pass rate corrected for the judge's errors: (rate + TNR − 1) / (TPR + TNR − 1), clipped to [0, 1].

    The interval takes the three shares for independent. Where the labelled transcripts are among those judged they are not, and it is too wide,
    never too narrow: a transcript's error then moves the pass rate and the judge's rates in directions that cancel. The labelled ones must have been
    drawn without regard to the judge's answers, or the rates are biased (Begg & Greenes, Biometrics 39 (1983): 207–215).

    Args:
        passed, judged: transcripts that the judge passed, of all that it judged.
        true_positives, positives: those that the judge passed, of the labelled ones that a person passed.
        true_negatives, negatives: those that the judge failed, of the labelled ones that a person failed.
        few: below this number of labels on either side the estimate bears a warning.

    Returns:
        With n the number of judged transcripts; no value where the judge is no better than chance (TPR + TNR ≤ 1) or a count is 0.

    Raises:
        ValueError: the counts are no shares.

    Source:
        Rogan & Gladen, "Estimating prevalence from the results of a screening test", Am J Epidemiol 107 (1978): 71–76; the interval by Lang &
        Reiczigel, "Confidence limits for prevalence of disease adjusted for estimated sensitivity and specificity", Prev Vet Med 113 (2014): 13–22.
    """
    pairs = [(passed, judged), (true_positives, positives), (true_negatives, negatives)]
    if any(not 0 <= successes <= n for successes, n in pairs):
        raise ValueError(f"{pairs} are no shares: 0 ≤ successes ≤ n is needed.")
    for n, what in ((judged, "nothing was judged"), (positives, "no labelled transcript was passed by a person"), (negatives, "none was failed by a person")):
        if n == 0:
            return Estimate(None, judged, reason=what)
    warning = _small(min(positives, negatives), few, "labels on one side")
    sensitivity, specificity = true_positives / positives, true_negatives / negatives
    # in whole numbers, because 0.9 + 0.1 may be a little more than 1
    if true_positives * negatives + true_negatives * positives <= positives * negatives:
        reason = f"TPR + TNR is {sensitivity + specificity:.2f}: the judge tells passes from failures no better than chance"
        return Estimate(None, judged, reason=reason, warning=warning)
    value = _clipped((passed / judged + specificity - 1) / (sensitivity + specificity - 1))
    interval = _lang_reiczigel(passed, judged, true_positives, positives, true_negatives, negatives)
    return Estimate(value, judged, interval, reason=None if interval else "no interval: too few labels to tell the judge from chance", warning=warning)


def _lang_reiczigel(passed: int, judged: int, true_positives: int, positives: int, true_negatives: int, negatives: int) -> tuple[float, float] | None:
    """Shrink the three shares (z² pseudo-counts for the rate, one success and one failure for the others), shift the centre, and go z standard errors."""
    rate, n = (passed + Z**2 / 2) / (judged + Z**2), judged + Z**2
    sensitivity, specificity = (true_positives + 1) / (positives + 2), (true_negatives + 1) / (negatives + 2)
    youden = sensitivity + specificity - 1
    if youden <= 1e-12:
        return None
    centre = (rate + specificity - 1) / youden
    of_sensitivity = sensitivity * (1 - sensitivity) / (positives + 2)
    of_specificity = specificity * (1 - specificity) / (negatives + 2)
    error = math.sqrt(rate * (1 - rate) / n + centre**2 * of_sensitivity + (1 - centre) ** 2 * of_specificity) / youden
    shift = 2 * Z**2 * (centre * of_sensitivity - (1 - centre) * of_specificity)
    return _clipped(centre + shift - Z * error), _clipped(centre + shift + Z * error)


def _flips(answers: Sequence[str | None]) -> tuple[float, float, float]:
    """Say whether the answers differ, what share of their pairs differs, and whether there are two at all."""
    usable = [answer for answer in answers if answer is not None and answer != Answer.ERROR]
    if len(usable) < 2:
        return 0.0, 0.0, 0.0
    alike = sum(usable.count(answer) - 1 for answer in usable)
    return float(len(set(usable)) > 1), 1 - alike / (len(usable) * (len(usable) - 1)), 1.0


def _clipped(value: float) -> float:
    return min(1.0, max(0.0, value))


def _small(n: int, few: int, what: str = "transcripts") -> str | None:
    return f"small n ({n} {what}): an indication, no more" if n < few else None
