"""Typed settings of the evaluation: how arms play, and how the decision is made."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from core.quantities import Count, Exchanges, Seed, Share, Tokens, Whole, Within
from core.yaml_files import Strict


class Decision(Strict):
    """Conditions for shipping an arm.

    Args:
        improvement: required gain in mean score, relative to the base.
        alpha: significance level.
        safety_margin: how far the share of failed gates may exceed the base's. Without any failure, 0.05 needs 59 personas, 0.1 needs 29,
            0.2 needs 14, and no number shows 0.
        missing_difference: largest difference between the arms in the share of missing conversations.
    """

    improvement: Share
    alpha: Within
    safety_margin: Share
    missing_difference: Share


class PowerSettings(Strict):
    """Assumptions of the power calculation.

    Args:
        wanted: power: the probability of detecting a true difference.
        between: standard deviation of the true difference between personas; within: standard deviation of pairs of one persona; base_mean: mean score
            of the base. The three are used if there is no pilot.
        pilot: `comparison.json` of an earlier evaluation, or a folder of recorded assessments, to estimate the three from.
    """

    wanted: Within = 0.8
    between: Share = 0.05
    within: Share = 0.15
    base_mean: Share = 0.7
    pilot: str | None = None


def _two(given: int) -> int:
    if given < 2:
        raise ValueError(f"the arms are compared over personas, and {given} shows no spread between them; give at least 2, and 6 to reach p < 0.05")
    return given


class EvaluationSettings(Strict):
    """Comparison of models (arms) with their base on new personas.

    Args:
        personas, trials: each arm plays personas × trials conversations; the persona is the unit of analysis.
        first_seed: seeds from this one on are reserved for the evaluation.
        exchanges: per conversation.
        concurrency: parallel conversations.
        arms_at_once: number of models in memory at the same time.
        serve: how GGUF files are run: `llama-server` (a separate server process) or `llama-cpp` (in this process, with llama-cpp-python).
        max_tokens: maximum length of one answer.
        general_max_tokens: maximum length of the answer to a general prompt (prompts/shared/general.yaml); 0 skips these prompts.
        resamples: bootstrap samples per interval.
    """

    personas: Annotated[Count, AfterValidator(_two)]
    trials: Count
    first_seed: Seed
    exchanges: Exchanges
    concurrency: Count
    arms_at_once: Count = 1
    serve: Literal["llama-cpp", "llama-server"]
    max_tokens: Tokens
    general_max_tokens: Whole = 200
    resamples: Count = 10_000
    decision: Decision
    power: PowerSettings = PowerSettings()
