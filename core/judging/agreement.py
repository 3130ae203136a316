"""Agreement of judges with each other, corrected for chance.

An answer that cannot be used (ERROR, None, or absent) counts as missing and never as a category: two judges that both fail do not agree.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from core.judging.label_statistics import Estimate, ratio, reweighted
from core.records import Answer

Answers = Mapping[str, Mapping[str, str | None]]
"""The answers to one criterion, by transcript and judge."""
Shares = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]
"""Maps sums over transcripts to the agreement that is observed and that which is expected by chance, by criterion."""
SAME, DIFFERENT = 1.2, 0.7
"""Total weight of the imagined transcripts with equal and with different answers, in transcripts: by simulation the smallest with which intervals cover."""


@dataclass(frozen=True)
class PairAgreement:
    """Two judges: the share of transcripts on which they agree, and Cohen's kappa."""

    judges: tuple[str, str]
    raw: Estimate
    kappa: Estimate


@dataclass(frozen=True)
class Agreement:
    """A panel's agreement.

    Args:
        raw: share of equal answers among all pairs of answers to the same question.
        fleiss: Fleiss' kappa, over questions that all judges answered; for two judges it is Scott's pi.
        alpha: Krippendorff's alpha for nominal data, over questions that at least two judges answered.
        pairs: every pair of judges, in the order of their names.
    """

    raw: Estimate
    fleiss: Estimate
    alpha: Estimate
    pairs: tuple[PairAgreement, ...]


def agreement(answers: Answers, resamples: int, few: int, seed: int = 0) -> Agreement:
    """Return how far judges agree on one criterion.

    A coefficient is not defined where fewer than two transcripts can be used, or where all answers are the same: agreement by chance would then be 1.
    Fleiss' kappa needs the same number of answers for each transcript, so it leaves out those that a judge did not answer; Krippendorff's alpha keeps them.

    Args:
        answers: any text is a category, except ERROR.
        resamples: samples behind the 95 % intervals, which are over transcripts (`core.judging.label_statistics.reweighted`).
        few: an estimate from fewer transcripts has a warning.

    Source:
        Cohen, "A coefficient of agreement for nominal scales", Educ Psychol Meas 20 (1960): 37–46. Fleiss, "Measuring nominal scale agreement among
        many raters", Psychol Bull 76 (1971): 378–382. Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section C (nominal data).
    """
    return overall_agreement({"": answers}, resamples, few, seed)


def overall_agreement(criteria: Mapping[str, Answers], resamples: int, few: int, seed: int = 0) -> Agreement:
    """Return how far judges agree over several criteria.

    Raw agreement is the mean over criteria. A coefficient is (mean observed − mean expected) / (1 − mean expected), where the agreement expected by chance
    is computed within each criterion. Pooling all answers would count it as agreement that one criterion is failed more often than another. A
    criterion with only one answer adds nothing. n and the intervals are over transcripts, not over answers, which are not independent.

    Args:
        criteria: the answers by criterion, transcript and judge.
        resamples, few: as for `agreement`.

    Source:
        De Vries, Elliott, Kanouse & Teleki, "Using pooled kappa to summarize interrater agreement across many items", Field Methods 20 (2008): 272–282;
        the same is done here with Fleiss' kappa and with alpha.
    """
    codes, judges, size = _coded(criteria)
    counts, two_counts = _counts(codes, size), _counts(_every_pair(size), size)

    def estimate(totals: np.ndarray, imagined: np.ndarray, shares: Shares) -> Estimate:
        return _estimate(totals, imagined, shares, resamples, few, seed)

    # an imagined transcript has two answers, but counts as much as one that all judges answered
    fleiss = _fleiss_totals(two_counts, 2) * np.array([1, 1, *[len(judges) / 2] * size])
    return Agreement(
        raw=estimate(_raw_totals(counts), _raw_totals(two_counts), _raw),
        fleiss=estimate(_fleiss_totals(counts, len(judges)), fleiss, _fleiss),
        alpha=estimate(_alpha_totals(counts), _alpha_totals(two_counts), _alpha),
        pairs=pair_agreements(criteria, resamples, few, seed),
    )


def pair_agreements(criteria: Mapping[str, Answers], resamples: int, few: int, seed: int = 0) -> tuple[PairAgreement, ...]:
    """Return the `pairs` of `overall_agreement` alone, for the same arguments; of two judges that takes less than half the time."""
    codes, judges, size = _coded(criteria)
    every = _every_pair(size)
    pairs = []
    for (one, first), (other, second) in combinations(enumerate(judges), 2):
        two = codes[..., [one, other]]
        raw = _estimate(_raw_totals(_counts(two, size)), _raw_totals(_counts(every, size)), _raw, resamples, few, seed)
        kappa = _estimate(_cohen_totals(two, size), _cohen_totals(every, size), _cohen, resamples, few, seed)
        pairs.append(PairAgreement((first, second), raw, kappa))
    return tuple(pairs)


def _every_pair(size: int) -> np.ndarray:
    """Return one imagined transcript for every pair of two judges' answers, (pairs, 1, 2)."""
    return np.stack(np.divmod(np.arange(size**2), size), axis=-1)[:, None, :]


def _estimate(totals: np.ndarray, imagined: np.ndarray, shares: Shares, resamples: int, few: int, seed: int) -> Estimate:
    """Return a coefficient from what each transcript, and each imagined one of `_every_pair`, adds to the sums."""
    reason = "all answers to a criterion are the same, so that agreement cannot be distinguished from chance"
    size = math.isqrt(len(imagined))
    first, second = np.divmod(np.arange(size**2), size)
    worth = np.where(first == second, SAME / size, DIFFERENT / (size * (size - 1)))
    answered = np.flatnonzero(totals.any(axis=(0, 2)))
    each = np.zeros((len(answered), len(imagined), *totals.shape[1:]))
    each[np.arange(len(answered)), :, answered] = imagined[:, 0]
    weights = np.tile(worth, len(answered)) / max(1, len(answered))
    return reweighted(totals, each.reshape(-1, *totals.shape[1:]), weights, lambda sums: _beyond_chance(*shares(sums)), reason, resamples, few, seed)


def _coded(criteria: Mapping[str, Answers]) -> tuple[np.ndarray, list[str], int]:
    """Number the answers.

    Returns:
        codes (transcripts, criteria, judges), −1 where missing; the judges' names; the number of categories.
    """
    transcripts = sorted({name for answers in criteria.values() for name in answers})
    judges = sorted({judge for answers in criteria.values() for by_judge in answers.values() for judge in by_judge})
    table = [[[answers.get(name, {}).get(judge) for judge in judges] for answers in criteria.values()] for name in transcripts]
    flat = [answer for row in table for column in row for answer in column]
    number = {answer: code for code, answer in enumerate(sorted({answer for answer in flat if answer is not None and is_usable(answer)}))}
    codes = np.array([-1 if answer is None else number.get(answer, -1) for answer in flat], dtype=int)
    # at least two, because another answer is always possible
    return codes.reshape(len(transcripts), len(criteria), len(judges)), judges, max(2, len(number))


def is_usable(answer: str | None) -> bool:
    """Return whether an answer counts: there is one, and it is not ERROR."""
    return answer is not None and answer != Answer.ERROR


def _counts(codes: np.ndarray, size: int) -> np.ndarray:
    """Return the number of answers in each category: (transcripts, criteria, categories)."""
    return (codes[..., None] == np.arange(size)).sum(axis=2)


def _beyond_chance(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Return the chance-corrected coefficient, pooled over criteria (the last axis); a criterion that was not answered is NaN and left out."""
    return ratio(np.nansum(observed - expected, axis=-1), np.nansum(1 - expected, axis=-1))


def _raw_totals(counts: np.ndarray) -> np.ndarray:
    answered = counts.sum(axis=-1)
    return np.stack([(counts * (counts - 1)).sum(axis=-1), answered * (answered - 1)], axis=-1)


def _raw(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    observed = ratio(sums[..., 0], sums[..., 1])
    return observed, 0 * observed


def _cohen_totals(codes: np.ndarray, size: int) -> np.ndarray:
    """Return the flattened table of two judges' answers for each (transcript, criterion): a single 1, or none if one did not answer."""
    table = (codes[..., 0, None, None] == np.arange(size)[:, None]) & (codes[..., 1, None, None] == np.arange(size))
    return table.reshape(*codes.shape[:2], size * size).astype(int)


def _cohen(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = math.isqrt(sums.shape[-1])
    table = sums.reshape(*sums.shape[:-1], size, size)
    n = table.sum(axis=(-2, -1))
    by_chance = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1)
    return ratio(np.trace(table, axis1=-2, axis2=-1), n), ratio(by_chance, n**2)


def _fleiss_totals(counts: np.ndarray, judges: int) -> np.ndarray:
    """Return (1, share of equal pairs, counts by category) for each (transcript, criterion) that all judges answered, else zeros."""
    complete = (counts.sum(axis=-1) == judges) & (judges > 1)
    alike = (counts * (counts - 1)).sum(axis=-1) / max(1, judges * (judges - 1))
    return np.concatenate([np.ones((*alike.shape, 1)), alike[..., None], counts], axis=-1) * complete[..., None]


def _fleiss(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = sums[..., 2:]
    return ratio(sums[..., 1], sums[..., 0]), ratio((counts**2).sum(axis=-1), counts.sum(axis=-1) ** 2)


def _alpha_totals(counts: np.ndarray) -> np.ndarray:
    """Return (trace of the coincidence matrix, counts by category) for each (transcript, criterion) that two judges or more answered, else zeros."""
    answered = counts.sum(axis=-1)
    alike = (counts * (counts - 1)).sum(axis=-1) / np.maximum(1, answered - 1)
    return np.concatenate([alike[..., None], counts], axis=-1) * (answered > 1)[..., None]


def _alpha(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = sums[..., 1:]
    n = counts.sum(axis=-1)
    return ratio(sums[..., 0], n), ratio((counts * (counts - 1)).sum(axis=-1), n * (n - 1))
