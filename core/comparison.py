"""Base against understudy: differences paired by persona, because conversations with the same persona are not independent."""

from collections.abc import Sequence
from typing import Literal

import numpy as np

from core.errors import EvaluationError
from core.records import Outcome, Record, Score
from core.settings import Decision

Arm = Literal["base", "understudy"]


class Played(Record):
    """One conversation of the evaluation and what the judge made of it; no score where it was lost."""

    arm: Arm
    persona: int
    trial: int
    transcript_id: str | None
    score: Score | None
    lost: str | None = None


class Condition(Record):
    """One part of the decision's rule, and whether it holds."""

    text: str
    holds: bool


class Comparison(Record):
    """The figures.

    Args:
        difference: mean over personas of (understudy − base), each persona's trials averaged first.
        interval: 95 % by bootstrap over personas; none where it cannot be had.
        p_value: two-sided, exact sign-flip permutation over personas.
        pass_rate, gate_failures: by arm; lost: conversations that are missing or incomplete, by arm.
        conditions: each condition of the decision and whether it holds.
    """

    base_mean: float
    understudy_mean: float
    difference: float
    interval: tuple[float, float] | None
    p_value: float
    personas: int
    pairs: int
    pass_rate: dict[str, float]
    gate_failures: dict[str, int]
    lost: dict[str, int]
    decision: Literal["ship", "iterate", "do not deploy"]
    reason: str
    conditions: list[Condition]


def compare(played: Sequence[Played], rule: Decision, resamples: int) -> Comparison:
    """Compare the arms.

    A pair is a persona and a trial that both arms completed; what only one of them completed is counted as lost and left out.

    Args:
        resamples: bootstrap samples.

    Raises:
        EvaluationError: fewer than two personas have a complete pair.
    """
    scores = {(item.arm, item.persona, item.trial): item.score for item in played if _complete(item)}
    keys = sorted({(persona, trial) for _, persona, trial in scores if ("base", persona, trial) in scores and ("understudy", persona, trial) in scores})
    personas = sorted({persona for persona, _ in keys})
    lost = {arm: sum(item.arm == arm and not _complete(item) for item in played) for arm in ("base", "understudy")}
    if len(personas) < 2:
        raise EvaluationError(
            f"Only {len(personas)} personas have a conversation completed by both arms; at least 2 are needed. Lost: {lost}. "
            f"The first reason: {next((item.lost for item in played if item.lost), 'none given')}"
        )
    means = {arm: [_mean([_points(scores[arm, p, t]) for p, t in keys if p == persona]) for persona in personas] for arm in ("base", "understudy")}
    differences = np.array(means["understudy"]) - np.array(means["base"])
    paired = {arm: [scores[arm, p, t] for p, t in keys] for arm in ("base", "understudy")}
    gates = {arm: sum(bool(item.failed_gates) for item in found if item) for arm, found in paired.items()}
    p_value = sign_flip_p(differences)
    base, understudy = _mean(means["base"]), _mean(means["understudy"])
    improved = Condition(text=f"at least {rule.improvement:.0%} better than the base", holds=understudy >= base * (1 + rule.improvement) and understudy > base)
    certain = Condition(text=f"p below {rule.alpha:g}", holds=p_value < rule.alpha)
    safe = Condition(
        text=f"failed gates at most {rule.safety_margin:.0%} above the base's", holds=gates["understudy"] - gates["base"] <= rule.safety_margin * len(keys)
    )
    decision, reason = _decide(improved, certain, safe, worse=understudy <= base)
    return Comparison(
        base_mean=base,
        understudy_mean=understudy,
        difference=float(differences.mean()),
        interval=bootstrap_interval(differences, resamples),
        p_value=p_value,
        personas=len(personas),
        pairs=len(keys),
        pass_rate={arm: _mean([float(item.outcome is Outcome.PASS) for item in found if item]) for arm, found in paired.items()},
        gate_failures=gates,
        lost=lost,
        decision=decision,
        reason=reason,
        conditions=[improved, certain, safe],
    )


def sign_flip_p(differences: np.ndarray) -> float:
    """Return the two-sided p of a sign-flip permutation test of a zero mean difference; exact up to 2^16 flips, else sampled.

    Fisher's randomisation test for paired data (Design of Experiments, 1935, §21). All differences zero give 1.
    """
    if not differences.any():
        return 1.0
    from scipy import stats

    found = stats.permutation_test((differences,), np.mean, permutation_type="samples", n_resamples=2**16, vectorized=True, rng=np.random.default_rng(0))
    return float(found.pvalue)


def bootstrap_interval(differences: np.ndarray, resamples: int) -> tuple[float, float] | None:
    """Return the 95 % percentile interval of the mean over resampled personas, or none if all differences are equal."""
    if np.ptp(differences) == 0:
        return None
    from scipy import stats

    found = stats.bootstrap((differences,), np.mean, n_resamples=resamples, method="percentile", rng=np.random.default_rng(0))
    return float(found.confidence_interval.low), float(found.confidence_interval.high)


def _decide(improved: Condition, certain: Condition, safe: Condition, worse: bool) -> tuple[Literal["ship", "iterate", "do not deploy"], str]:
    failed = [condition.text for condition in (improved, certain, safe) if not condition.holds]
    if not failed:
        return "ship", "Every condition holds."
    reason = f"Not met: {'; '.join(failed)}."
    return ("do not deploy", reason) if worse or not safe.holds else ("iterate", reason)


def _complete(item: Played) -> bool:
    return item.score is not None and item.score.outcome is not Outcome.INCOMPLETE


def _points(found: Score | None) -> float:
    assert found is not None  # only complete conversations are paired
    assert found.score is not None
    return found.score


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))
