"""Evaluations by a judge with known errors in each arm."""

import numpy as np
from scipy.special import expit, logit

from core.evaluation.outcomes import Pairs

WEIGHTS = np.repeat([0.075, 0.1, 0.0375, 0.075, 0.2 / 3], [2, 2, 4, 4, 3])
"""Of the criteria of the coaching rubric; they add up to 1."""
TPR, TNR = 0.80, 0.92
BASE = 0.706


def misjudged(draw: np.random.Generator, gain: float = 0.0, leniency: float = 0.0, personas: int = 30, trials: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Return the true and the judged scores, (arm, persona, trial), the base first.

    Args:
        leniency: logits that are added to the log odds of the judge's YES to the arm.
    """
    true, judged = [], []
    for mean, lenient in ((BASE, 0.0), (BASE + gain, leniency)):
        each = mean + draw.normal(0, 0.04, (personas, 1)) + draw.normal(0, 0.08, (personas, trials))
        passes = draw.random((personas, trials, len(WEIGHTS))) < np.clip(each, 0.02, 0.98)[..., None]
        yes = np.where(passes, expit(logit(TNR) + lenient), expit(logit(1 - TPR) + lenient))
        true.append(passes @ WEIGHTS)
        judged.append((draw.random(passes.shape) < yes) @ WEIGHTS)
    return np.array(true), np.array(judged)


def pairs_of(scores: np.ndarray) -> Pairs:
    return Pairs([(persona, trial, float(scores[0, persona, trial]), float(scores[1, persona, trial])) for persona, trial in np.ndindex(scores.shape[1:])])
