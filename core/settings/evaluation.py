"""Typed settings of the evaluation: how it is played, what it is to show, and when it decides for a model."""

from typing import Annotated, Literal

from pydantic import AfterValidator

from core.quantities import Count, Exchanges, Seed, Share, Tokens, Whole, Within
from core.yaml_files import Strict


class Decision(Strict):
    """When an arm is worth shipping.

    Args:
        improvement: the gain in mean score, relative to the base's, that is asked for.
        alpha: the p value below which a difference counts.
        safety_margin: how much larger a share of failed gates may be than the base's; it takes 59 personas without a failure to show 0.05, 29 for 0.1,
            14 for 0.2, and no number of them shows 0.
        missing_difference: how much larger a share of its conversations one arm may miss than the other.
    """

    improvement: Share
    alpha: Within
    safety_margin: Share
    missing_difference: Share


class PowerSettings(Strict):
    """What is taken for granted where it is said beforehand what an evaluation can find.

    Args:
        wanted: the chance with which a true difference is to be found.
        between: standard deviation of the true difference from persona to persona; within: of a pair's from its persona's; base_mean: mean score of the
            base. The three are assumed where there is no pilot.
        pilot: `comparison.json` of an earlier evaluation, or a folder of recorded assessments, from which the three are estimated instead.
    """

    wanted: Within
    between: Share
    within: Share
    base_mean: Share
    pilot: str | None = None


def _two(given: int) -> int:
    if given < 2:
        raise ValueError(f"the arms are compared over personas, and {given} shows no spread between them; give at least 2, and 6 to reach p < 0.05")
    return given


class EvaluationSettings(Strict):
    """Arms against their base on fresh personas.

    Args:
        personas, trials: conversations of an arm are personas × trials; personas are the clusters.
        first_seed: no seed from here on is ever used for training.
        exchanges: length of each conversation.
        concurrency: conversations under way at once.
        arms_at_once: models that play, and are in memory, at the same time.
        serve: how the GGUF files of an export are played: llama-server, a program that is started for it; or llama-cpp, in this process, with llama-cpp-python.
        max_tokens: room for one answer.
        general_max_tokens: room for the answer to a general prompt (prompts/shared/general.yaml); 0 asks none.
        resamples: bootstrap samples behind an interval.
    """

    personas: Annotated[Count, AfterValidator(_two)]
    trials: Count
    first_seed: Seed
    exchanges: Exchanges
    concurrency: Count
    arms_at_once: Count
    serve: Literal["llama-cpp", "llama-server"]
    max_tokens: Tokens
    general_max_tokens: Whole
    resamples: Count
    decision: Decision
    power: PowerSettings
