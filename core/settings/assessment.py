"""Typed settings of the assessment: how a judge is called, how a panel decides, and what a judge must reach in calibration."""

from typing import Literal

from pydantic import Field

from core.quantities import Count, Share, Tokens
from core.yaml_files import Strict


class Judging(Strict):
    """How one judge assesses one transcript. A change makes a new assessment."""

    mode: Literal["single", "category", "criterion", "compact"]
    """Content of one call: all criteria (`single`), those of a category (`category`), one
    criterion (`criterion`), or those of a category without their examples (`compact`), for a model
    with little context."""
    shuffle: bool = True
    """Whether each call has its criteria in random order, so that none is always first."""
    confirm_gates: Literal["never", "second", "majority"]
    """How a failed gate is confirmed: not at all (`never`), by a second answer that must fail it
    too (`second`), or by two answers of three (`majority`)."""


Policy = Literal["majority", "any_fail"]


class PanelSettings(Strict):
    """How the answers of several judges are combined: more than half must pass a criterion (`majority`), or one failure fails it (`any_fail`)."""

    criteria: Literal["strictest", "majority", "any_fail"]
    """Policy for criteria; with `strictest`, the answers of the judge with the lowest score are used."""
    gates: Policy
    """Policy for gates."""
    by_criterion: dict[str, Policy] = Field(default_factory=dict)
    """Exceptions, by criterion id."""


class GatherSettings(Strict):
    """Further conditions for training on a transcript that passed."""

    floors: Share | None = None
    """Lowest score of each category; default: that of the pack's `rubric.yaml` (0.5)."""
    required: list[str] | None = None
    """Criteria that must pass, by id; default: those of the pack's `rubric.yaml`."""


class CalibrationSettings(Strict):
    """Minimum accuracy of a judge's gates on the golden set; `understudy calibrate` names the cheapest judge or panel that reaches it."""

    least_tpr: Share = 0.9
    """Minimum share of the conversations that a gate must reject and that the judge rejects."""
    least_tnr: Share = 0.8
    """Minimum share of the conversations that all gates must pass and that the judge passes."""


class AssessmentSettings(Strict):
    """How transcripts are assessed."""

    concurrency: Count
    """Parallel assessments."""
    max_tokens: Tokens
    """Maximum length of the answer of one call, including thinking."""
    judging: Judging
    batch: bool = False
    """Whether `assess` and `nightly` use the batch APIs of Anthropic, OpenAI and Google: at half the
    price, within 24 hours instead of minutes."""
    panel: PanelSettings
