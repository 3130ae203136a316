"""Agreement of a judge's ranking of transcripts with that of the other judges."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class RankAgreement:
    """How closely a judge's ranking of transcripts follows that of the other judges.

    Args:
        correlation: Spearman's correlation with the mean of the other judges' scores; None where it is not defined.
        n: transcripts behind the correlation.
        far: whether reports name the judge as one that ranks far from the rest.
        reason: why there is no correlation, or why a judge with a low one is not named.
    """

    judge: str
    correlation: float | None
    n: int
    far: bool
    reason: str | None = None


def rank_agreement(scores: Mapping[str, Mapping[str, float | None]], threshold: float, few: int) -> list[RankAgreement]:
    """Return how closely each judge's ranking follows the other judges', and which judges rank far from the rest.

    Only transcripts that every judge scored count: where a lenient judge is missing, the mean of the others would fall and look like a worse transcript.
    A judge without any score is set apart, because otherwise no transcript would count. Of two judges neither is named, because neither is "the rest".

    Args:
        scores: by transcript and judge; None or absent where there is no score.
        threshold: a lower correlation is far.
        few: with fewer transcripts no judge is named.

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


def _ranked(judge: str, own: np.ndarray, others: np.ndarray, threshold: float, few: int) -> RankAgreement:
    n = len(own)
    if others.shape[1] == 0 or n < 2:
        what = "there is no other judge" if others.shape[1] == 0 else f"transcripts that every judge scored: {n}; at least 2 are needed"
        return RankAgreement(judge, None, n, far=False, reason=what)
    # rounded, because sums of the same scores in another order differ in the last bit and would not be ties
    own, mean = own.round(9), others.mean(axis=1).round(9)
    for values, whose in ((own, "the judge"), (mean, "the others")):
        if np.ptp(values) == 0:
            return RankAgreement(judge, None, n, far=False, reason=f"{whose} scored all transcripts alike")
    from scipy import stats  # noqa: PLC0415  # takes more than a second to load

    correlation = float(stats.spearmanr(own, mean).statistic)
    if correlation < threshold and (n < few or others.shape[1] == 1):
        what = f"not named: small n ({n} transcripts)" if n < few else "not named: there are only two judges"
        return RankAgreement(judge, correlation, n, far=False, reason=what)
    return RankAgreement(judge, correlation, n, far=correlation < threshold)
