"""Typed settings of the assessment: how a judge is asked, how a panel decides, and how reliability is measured."""

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
    """Policy for criteria; with `strictest`, the answers of the judge with the lowest score count."""
    gates: Policy
    """Policy for gates."""
    by_criterion: dict[str, Policy] = Field(default_factory=dict)
    """Exceptions, by criterion id."""


class GatherSettings(Strict):
    """What is asked of a transcript that passed before it is trained on."""

    floors: Share | None = None
    """Lowest score of each category; by default as the pack's `rubric.yaml` says (0.5)."""
    required: list[str] | None = None
    """Criteria that must pass, by id; by default those of the pack's `rubric.yaml`."""


class CalibrationSettings(Strict):
    """What a judge's gates must reach on the golden set; `understudy calibrate` names the cheapest judge or panel that does."""

    least_tpr: Share = 0.9
    """Of the conversations that a gate must reject, the share that the judge rejects."""
    least_tnr: Share = 0.8
    """Of the conversations that all gates must pass, the share that the judge passes."""


class AssessmentSettings(Strict):
    """How transcripts are assessed."""

    concurrency: Count
    """Parallel assessments."""
    max_tokens: Tokens
    """Maximum length of the answer of one call, including thinking."""
    judging: Judging
    batch: bool = False
    """Whether `assess` and `nightly` judge through the batches of Anthropic, OpenAI and Google: at
    half the price, within 24 hours instead of minutes."""
    panel: PanelSettings
