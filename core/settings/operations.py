"""Typed settings of the stages around the pipeline: nightly runs, repairs, pack design, cost estimates."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from core.quantities import Count, Share, Tokens, Whole
from core.settings.models import Budget
from core.yaml_files import Strict


class RepairSettings(Strict):
    """Repair of transcripts that almost passed.

    Args:
        below: how far below the rubric's threshold the score of a transcript may be.
        most: largest share of a transcript's answers that may be rewritten.
        max_tokens: maximum length of one answer, including thinking.
        concurrency: transcripts repaired in parallel.
        by_night: whether the nightly run also repairs.
        in_dataset: whether repaired transcripts are used for training; dataset_share: their largest share of a dataset; those with the highest scores are used.
    """

    below: Share
    most: Share
    max_tokens: Tokens = 4_000
    concurrency: Count = 20
    by_night: bool = False
    in_dataset: bool = True
    dataset_share: Share = 0.2


class DesignSettings(Strict):
    """Drafts and pilots of domain packs.

    Args:
        attempts: for each file; after an invalid draft the designer sees the loader's error.
        max_tokens: maximum length of one file, including thinking.
        contradictions: `refuse` stops at a brief that contradicts itself; `tell` drafts the pack and names the contradiction in the report.
        critique: whether the pack's experts review the draft.
    """

    attempts: Count = 4
    max_tokens: Tokens = 32_000
    contradictions: Literal["refuse", "tell"]
    critique: bool


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:  # OSError: `Europe` is a folder of the data
        raise ValueError(f"{name!r:.80} is no timezone; allowed are names such as Europe/Berlin, America/New_York or UTC") from unknown
    return name


class NightlySettings(Strict):
    """A batch that is generated and assessed every night.

    Args:
        conversations: new conversations per night.
        budget: of one night; replaces the run's budget.
        for_judging: share of the budget reserved for judging; when the rest is spent, no conversation starts.
        until: time (HH:MM) after which nothing new starts.
        timezone: of `until`, such as Europe/Berlin.
        nights: number of earlier nights in the report.
    """

    conversations: Count
    budget: Budget
    for_judging: Share = 0.3
    until: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    timezone: Annotated[str, AfterValidator(_known_timezone)]
    nights: Whole = 14
