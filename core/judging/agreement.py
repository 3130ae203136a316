"""How far judges agree with each other and with a person, beyond what chance would give.

An answer that cannot be used (ERROR, None, or not there at all) is missing and never a category: two judges that both fail do not agree.
"""

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from core.judging.label_statistics import Estimate, batch_rate, ratio, reweighted, share_of
from core.records import Answer

Answers = Mapping[str, Mapping[str, str | None]]
"""For one criterion: by transcript and judge, the answer."""
SAME, DIFFERENT = 1.2, 0.7
"""Imagined transcripts in all, with the same answer and with different ones, behind an interval: by simulation the fewest with which it covers."""


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
        raw: share of pairs of answers to the same that are equal.
        fleiss: Fleiss' kappa, over what all judges answered; of two judges it is Scott's pi.
        alpha: Krippendorff's, nominal, over what at least two judges answered.
        pairs: each two judges, in the order of their names.
    """

    raw: Estimate
    fleiss: Estimate
    alpha: Estimate
    pairs: tuple[PairAgreement, ...]


@dataclass(frozen=True)
class RankAgreement:
    """How a judge ranks transcripts beside the others.

    Args:
        correlation: Spearman's, with the mean of the other judges' scores; none where it is not defined.
        n: transcripts that it rests on.
        far: whether the judge is to be named as ranking far from the rest.
        reason: why there is no correlation, or why nobody is named for it.
    """

    judge: str
    correlation: float | None
    n: int
    far: bool
    reason: str | None = None


@dataclass(frozen=True)
class HumanAgreement:
    """A judge beside a person, for one criterion.

    Args:
        raw: share of labelled transcripts with the same answer.
        kappa: Cohen's.
        true_positive_rate, true_negative_rate: of what the person failed (passed), the share that the judge failed (passed).
        pass_rate: of all that the judge judged, as it says.
        labelled_pass_rate: of the same, what the person would pass, from the labels alone.
        corrected_pass_rate: the same, from the labels and the judge's answers.
    """

    raw: Estimate
    kappa: Estimate
    true_positive_rate: Estimate
    true_negative_rate: Estimate
    pass_rate: Estimate
    labelled_pass_rate: Estimate
    corrected_pass_rate: Estimate


def agreement(answers: Answers, resamples: int, few: int, seed: int = 0) -> Agreement:
    """Return how far judges agree on one criterion.

    A coefficient is not defined where fewer than two transcripts can be used, or where all answers are the same: agreement by chance would then be 1.
    Fleiss' kappa wants the same number of answers for each transcript, so those that a judge left out are left out; Krippendorff's alpha keeps them.

    Args:
        answers: by transcript and judge; any text is a category, except ERROR.
        resamples: samples behind the intervals, which are 95 %, over transcripts (`core.judging.label_statistics.reweighted`).
        few: below this number of transcripts an estimate bears a warning.

    Source:
        Cohen, "A coefficient of agreement for nominal scales", Educ Psychol Meas 20 (1960): 37–46. Fleiss, "Measuring nominal scale agreement among
        many raters", Psychol Bull 76 (1971): 378–382. Krippendorff, "Computing Krippendorff's alpha-reliability" (2011), section C (nominal data).
    """
    return overall_agreement({"": answers}, resamples, few, seed)


def overall_agreement(criteria: Mapping[str, Answers], resamples: int, few: int, seed: int = 0) -> Agreement:
    """Return how far judges agree over several criteria.

    Raw agreement is the mean over criteria. A coefficient is (mean observed − mean expected) / (1 − mean expected), chance being reckoned within each
    criterion; throwing all answers together would call it agreement that one criterion is failed more often than another. A criterion with only one answer
    adds nothing. n and the intervals are over transcripts, not over their answers, which are not independent.

    Args:
        criteria: by criterion, transcript and judge, the answer.
        resamples, few: as for `agreement`.

    Source:
        De Vries, Elliott, Kanouse & Teleki, "Using pooled kappa to summarize interrater agreement across many items", Field Methods 20 (2008): 272–282;
        the same is done here with Fleiss' kappa and with alpha.
    """
    codes, judges, size = _coded(criteria)

    pairs_of_answers, worth = _every_pair(size)

    def estimate(totals: np.ndarray, imagined: np.ndarray, shares: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]) -> Estimate:
        reason = "all answers to a criterion are the same, so that agreement cannot be distinguished from chance"
        answered = np.flatnonzero(totals.any(axis=(0, 2)))
        each = np.zeros((len(answered), len(imagined), *totals.shape[1:]))
        each[np.arange(len(answered)), :, answered] = imagined[:, 0]
        weights = np.tile(worth, len(answered)) / max(1, len(answered))
        return reweighted(totals, each.reshape(-1, *totals.shape[1:]), weights, lambda sums: _beyond_chance(*shares(sums)), reason, resamples, few, seed)

    counts, two_counts = _counts(codes, size), _counts(pairs_of_answers, size)
    pairs = []
    for (one, first), (other, second) in combinations(enumerate(judges), 2):
        two = codes[..., [one, other]]
        raw = estimate(_raw_totals(_counts(two, size)), _raw_totals(two_counts), _raw)
        pairs.append(PairAgreement((first, second), raw, estimate(_cohen_totals(two, size), _cohen_totals(pairs_of_answers, size), _cohen)))
    # an imagined transcript has two answers and counts as much as one that all judges answered
    fleiss = _fleiss_totals(two_counts, 2) * np.array([1, 1, *[len(judges) / 2] * size])
    return Agreement(
        raw=estimate(_raw_totals(counts), _raw_totals(two_counts), _raw),
        fleiss=estimate(_fleiss_totals(counts, len(judges)), fleiss, _fleiss),
        alpha=estimate(_alpha_totals(counts), _alpha_totals(two_counts), _alpha),
        pairs=tuple(pairs),
    )


def _every_pair(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Return imagined transcripts with every pair of answers of two judges, (pairs, 1, 2), and how many transcripts each is worth."""
    codes = np.stack(np.divmod(np.arange(size**2), size), axis=-1)[:, None, :]
    alike = codes[:, 0, 0] == codes[:, 0, 1]
    return codes, np.where(alike, SAME / size, DIFFERENT / (size * (size - 1)))


def rank_agreement(scores: Mapping[str, Mapping[str, float | None]], threshold: float, few: int) -> list[RankAgreement]:
    """Return how each judge ranks the transcripts beside the others, and name those that rank far from the rest.

    Only transcripts that every judge scored count: where a lenient judge is missing, the mean of the others would fall and look like a worse transcript.
    A judge without any score is no reason to leave all out. Of two judges neither is the rest, so neither is named.

    Args:
        scores: by transcript and judge, the score; None or not there where there is none.
        threshold: a correlation below this is far.
        few: below this number of transcripts nobody is named.

    Source:
        Spearman, "The proof and measurement of association between two things", Am J Psychol 15 (1904): 72–101; equal scores share their mean rank.
    """
    everyone = sorted({judge for by_judge in scores.values() for judge in by_judge})
    silent = [judge for judge in everyone if all(by_judge.get(judge) is None for by_judge in scores.values())]
    judges = [judge for judge in everyone if judge not in silent]
    table = [[by_judge.get(judge) for judge in judges] for by_judge in scores.values()]
    rows = [row for row in table if None not in row]
    complete = np.array(rows, dtype=float).reshape(len(rows), len(judges))
    ranked = [_ranked(judge, complete[:, place], np.delete(complete, place, axis=1), threshold, few) for place, judge in enumerate(judges)]
    ranked += [RankAgreement(judge, None, 0, far=False, reason="the judge scored no transcript") for judge in silent]
    return sorted(ranked, key=lambda item: item.judge)


def human_agreement(
    human: Mapping[str, str | None], judge: Mapping[str, str | None], passing: Collection[str], resamples: int, few: int, seed: int = 0
) -> HumanAgreement:
    """Return how a judge answers one criterion beside a person who labelled some of the transcripts.

    The share of equal answers and kappa are of the answers themselves, the rates of passed or not. The positive class is a failure.

    Args:
        human: the person's answers by transcript; ERROR, None and what is not there are unlabelled. For the rate from the labels alone the sample must
            have been drawn without regard to the judge's answers.
        judge: the judge's answers by transcript, of the whole batch.
        passing: the answers that pass: YES, and NA where the rubric allows it.
        resamples: samples behind kappa's interval; the shares have Wilson intervals, the person's pass rates those of `batch_rate`.
        few: below this number an estimate bears a warning.

    Source:
        Cohen (1960), Wilson (1927), Holt & Smith (1979), as cited where they are computed.
    """
    judged = {name: answer for name, answer in judge.items() if _usable(answer)}
    pairs = {name: {"human": answer, "judge": judged[name]} for name, answer in human.items() if _usable(answer) and name in judged}
    both = [(labels["human"] in passing, labels["judge"] in passing) for labels in pairs.values()]
    failed, passed = sum(not person for person, _ in both), sum(person for person, _ in both)
    found, let_pass = sum(not person and not machine for person, machine in both), sum(person and machine for person, machine in both)
    machines = [answer in passing for answer in judged.values()]
    strata = [
        (machines.count(way), sum(machine is way for _, machine in both), sum(person for person, machine in both if machine is way)) for way in (True, False)
    ]
    equal = sum(labels["human"] == labels["judge"] for labels in pairs.values())
    pair = agreement(pairs, resamples, few, seed).pairs
    unlabelled = "no transcript has both a label and the judge's answer"
    return HumanAgreement(
        raw=share_of(equal, len(pairs), few, unlabelled),
        kappa=pair[0].kappa if pair else Estimate(None, 0, reason=unlabelled),
        true_positive_rate=share_of(found, failed, few, "no labelled transcript was failed by the person"),
        true_negative_rate=share_of(let_pass, passed, few, "no labelled transcript was passed by the person"),
        pass_rate=share_of(machines.count(True), len(judged), few, "nothing was judged"),
        labelled_pass_rate=batch_rate([(len(judged), len(both), passed)], few),
        corrected_pass_rate=batch_rate(strata, few),
    )


def _ranked(judge: str, own: np.ndarray, others: np.ndarray, threshold: float, few: int) -> RankAgreement:
    from scipy import stats  # noqa: PLC0415  # takes a second and more to load

    n = len(own)
    if others.shape[1] == 0 or n < 2:
        what = "there is no other judge" if others.shape[1] == 0 else f"transcripts that every judge scored: {n}; at least 2 are needed"
        return RankAgreement(judge, None, n, far=False, reason=what)
    # rounded, because sums of the same scores in another order differ in the last binary place and would not be ties
    own, mean = own.round(9), others.mean(axis=1).round(9)
    for values, whose in ((own, "the judge"), (mean, "the others")):
        if np.ptp(values) == 0:
            return RankAgreement(judge, None, n, far=False, reason=f"{whose} scored all transcripts alike")
    correlation = float(stats.spearmanr(own, mean).statistic)
    if correlation < threshold and (n < few or others.shape[1] == 1):
        what = f"not named: small n ({n} transcripts)" if n < few else "not named: of two judges neither is the rest"
        return RankAgreement(judge, correlation, n, far=False, reason=what)
    return RankAgreement(judge, correlation, n, far=correlation < threshold)


def _coded(criteria: Mapping[str, Answers]) -> tuple[np.ndarray, list[str], int]:
    """Number the answers.

    Returns:
        codes (transcripts, criteria, judges), −1 where missing; the judges' names; the number of categories.
    """
    transcripts = sorted({name for answers in criteria.values() for name in answers})
    judges = sorted({judge for answers in criteria.values() for by_judge in answers.values() for judge in by_judge})
    table = [[[answers.get(name, {}).get(judge) for judge in judges] for answers in criteria.values()] for name in transcripts]
    flat = [answer for row in table for column in row for answer in column]
    number = {answer: code for code, answer in enumerate(sorted({answer for answer in flat if answer is not None and _usable(answer)}))}
    codes = np.array([-1 if answer is None else number.get(answer, -1) for answer in flat], dtype=int)
    # two at least, because another answer is always possible
    return codes.reshape(len(transcripts), len(criteria), len(judges)), judges, max(2, len(number))


def _usable(answer: str | None) -> bool:
    return answer is not None and answer != Answer.ERROR


def _counts(codes: np.ndarray, size: int) -> np.ndarray:
    """Count each category's answers: (transcripts, criteria, categories)."""
    return (codes[..., None] == np.arange(size)).sum(axis=2)


def _beyond_chance(observed: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Pool over criteria, the last axis; NaN marks one that was not answered."""
    return ratio(np.nansum(observed - expected, axis=-1), np.nansum(1 - expected, axis=-1))


def _raw_totals(counts: np.ndarray) -> np.ndarray:
    answered = counts.sum(axis=-1)
    return np.stack([(counts * (counts - 1)).sum(axis=-1), answered * (answered - 1)], axis=-1)


def _raw(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    observed = ratio(sums[..., 0], sums[..., 1])
    return observed, 0 * observed


def _cohen_totals(codes: np.ndarray, size: int) -> np.ndarray:
    """For each (transcript, criterion) the table of the two judges' answers, flat, with a 1 in one cell or nowhere."""
    table = (codes[..., 0, None, None] == np.arange(size)[:, None]) & (codes[..., 1, None, None] == np.arange(size))
    return table.reshape(*codes.shape[:2], size * size).astype(int)


def _cohen(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    size = math.isqrt(sums.shape[-1])
    table = sums.reshape(*sums.shape[:-1], size, size)
    n = table.sum(axis=(-2, -1))
    by_chance = (table.sum(axis=-1) * table.sum(axis=-2)).sum(axis=-1)
    return ratio(np.trace(table, axis1=-2, axis2=-1), n), ratio(by_chance, n**2)


def _fleiss_totals(counts: np.ndarray, judges: int) -> np.ndarray:
    """Give 1, the share of equal pairs, and the counts of each (transcript, criterion) that all answered."""
    complete = (counts.sum(axis=-1) == judges) & (judges > 1)
    alike = (counts * (counts - 1)).sum(axis=-1) / max(1, judges * (judges - 1))
    return np.concatenate([np.ones((*alike.shape, 1)), alike[..., None], counts], axis=-1) * complete[..., None]


def _fleiss(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = sums[..., 2:]
    return ratio(sums[..., 1], sums[..., 0]), ratio((counts**2).sum(axis=-1), counts.sum(axis=-1) ** 2)


def _alpha_totals(counts: np.ndarray) -> np.ndarray:
    """Give the diagonal of the coincidence matrix, summed, and the counts, of each (transcript, criterion) that two or more answered."""
    answered = counts.sum(axis=-1)
    alike = (counts * (counts - 1)).sum(axis=-1) / np.maximum(1, answered - 1)
    return np.concatenate([alike[..., None], counts], axis=-1) * (answered > 1)[..., None]


def _alpha(sums: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    counts = sums[..., 1:]
    n = counts.sum(axis=-1)
    return ratio(sums[..., 0], n), ratio((counts * (counts - 1)).sum(axis=-1), n * (n - 1))
