"""Typed settings of the assessment: how a judge is asked, how a panel decides, and the figures that say how far to trust them."""

from typing import Literal

from pydantic import Field

from core.quantities import Correlation, Count, Tokens
from core.yaml_files import Strict


class Judging(Strict):
    """How one judge is asked about one transcript; all of it is part of an assessment's name.

    Args:
        mode: what goes into one call: all criteria (`single`), those of a category, or one criterion.
        shuffle: whether the criteria of a call stand in an order drawn for the transcript and the judge, so that none always comes first.
        confirm_gates: how often a failed gate is asked again before it counts: not at all (`never`); once, and both answers must fail it (`second`); or
            until two answers of three agree (`majority`).
    """

    mode: Literal["single", "category", "criterion"]
    shuffle: bool
    confirm_gates: Literal["never", "second", "majority"]


Policy = Literal["majority", "any_fail"]


class PanelSettings(Strict):
    """How several judges' answers become one: more than half must pass a criterion (`majority`), or one failure fails it (`any_fail`).

    Args:
        criteria, gates: the policy for each kind.
        by_criterion: by a criterion's id, where it is another one.
    """

    criteria: Policy
    gates: Policy
    by_criterion: dict[str, Policy] = Field(default_factory=dict)


class TrustSettings(Strict):
    """Figures that say how far judges can be trusted.

    Args:
        resamples: bootstrap samples behind an interval.
        few: with fewer transcripts an estimate bears a warning.
        far: a judge whose ranks correlate less with the other judges' is named.
        repeated: transcripts that are judged again when repeats are asked for, if no number is given.
        reviewed: transcripts on a sheet for a person, if no number is given.
    """

    resamples: Count
    few: Count
    far: Correlation
    repeated: Count
    reviewed: Count


class AssessmentSettings(Strict):
    """Judging.

    Args:
        concurrency: assessments under way at once.
        max_tokens: room for the answer of one call.
    """

    concurrency: Count
    max_tokens: Tokens
    judging: Judging
    panel: PanelSettings
    trust: TrustSettings
