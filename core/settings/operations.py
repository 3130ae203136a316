"""Typed settings of the stages around the pipeline: repairs, preference pairs, pack design, prompt optimisation, improvement and nightly runs."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from core.quantities import Count, Share, Tokens, Whole
from core.settings.models import Budget
from core.yaml_files import Strict


class RepairSettings(Strict):
    """Repair of transcripts that almost passed."""

    max_score_gap: Share
    """How far below the rubric's threshold the score of a transcript may be."""
    max_rewrite_share: Share
    """Largest share of a transcript's answers that may be rewritten."""
    max_tokens: Tokens = 4_000
    """Maximum length of one answer, including thinking."""
    concurrency: Count = 20
    """Transcripts repaired in parallel."""
    by_night: bool = False
    """Whether the nightly run also repairs."""
    in_dataset: bool = True
    """Whether repaired transcripts are used for training."""
    dataset_share: Share = 0.2
    """Their largest share of a dataset."""


class PreferenceSettings(Strict):
    """Pairs of a better and a worse reply to the same message, for preference training."""

    attempts: Count = 3
    """Maximum number of new replies requested at an exchange, until one passes."""
    per_transcript: Count = 2
    """Maximum number of exchanges of a transcript at which new replies are requested, the earliest
    first."""
    concurrency: Count = 20
    """Exchanges in parallel."""
    length_ratio: Annotated[float, Field(strict=True, ge=1, le=1000, allow_inf_nan=False)] = 2.0
    """Maximum length of the longer reply of a pair, as a multiple of the shorter one; preference
    training learns a difference in length before any other."""


class DesignSettings(Strict):
    """Drafts and pilots of domain packs."""

    attempts: Count = 4
    """Attempts for each file; after an invalid draft the designer sees the loader's error."""
    max_tokens: Tokens = 32_000
    """Maximum length of one file, including thinking."""
    contradictions: Literal["refuse", "tell"]
    """`refuse` stops at a brief that contradicts itself; `tell` drafts the pack and names the
    contradiction in the report."""
    critique: bool
    """Whether the pack's experts review the draft."""


class OptimiseSettings(Strict):
    """The search for a better system prompt (`understudy optimise-prompt`)."""

    conversations: Count = 120
    """Maximum number of conversations played and judged. Each candidate takes 6, and one that is kept
    takes `personas` more."""
    personas: Annotated[Count, Field(ge=3)] = 12
    """Number of training personas from which candidates are derived, and of as many others by which
    one is chosen."""
    prompt_tokens: Tokens = 1_200
    """Maximum length of a candidate; it leaves less of the model's context for the conversation."""


class ImprovementSettings(Strict):
    """Rounds of improvement (`understudy improve`): the teacher corrects what the understudy fails."""

    conversations: Count = 24
    """Conversations that the understudy has in each round, with new training personas."""
    floor: Share = 0.5
    """Share of a round's personas that are drawn from the taxonomy as it is; the others are drawn where
    these fail most."""
    corrections: Count = 4
    """Maximum number of replies corrected per conversation. Replies that fail a gate come first, then
    those cited by the most failed criteria."""
    rounds: Count = 2
    """Maximum number of rounds in a series."""
    stop_without_gain: bool = True
    """Whether the series ends at a round whose understudy the evaluation does not ship, and that
    understudy is discarded; `false` runs all rounds, for trials with few personas."""


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:  # OSError: a name such as `Europe` is a folder of the timezone data
        raise ValueError(f"{name!r:.80} is not a timezone; allowed are names such as Europe/Berlin, America/New_York or UTC") from unknown
    return name


class NightlySettings(Strict):
    """A batch that is generated and assessed every night."""

    conversations: Count
    """New conversations per night."""
    budget: Budget
    """Budget of one night; replaces the run's budget."""
    for_judging: Share = 0.3
    """Share of the budget reserved for judging; when the rest is spent, no conversation starts."""
    until: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    """Time (HH:MM) after which nothing new starts."""
    timezone: Annotated[str, AfterValidator(_known_timezone)]
    """Timezone of `until`, such as Europe/Berlin."""
    nights: Whole = 14
    """Number of earlier nights in the report."""
