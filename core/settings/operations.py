"""Typed settings of what surrounds the pipeline: nights, repairs, the design of packs, costs told beforehand."""

from typing import Annotated, Literal
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, Field

from core.quantities import Count, Share, Tokens, Whole
from core.settings.models import Budget
from core.yaml_files import Strict


class RepairSettings(Strict):
    """Transcripts that almost passed.

    Args:
        below: how far below the rubric's threshold a score may be.
        most: share of a transcript's answers that may be rewritten.
        max_tokens: room for one answer, thinking included.
        concurrency: transcripts under way at once.
        by_night: whether the nightly mends what almost passed.
        in_dataset: whether mended transcripts are trained on; dataset_share: at most this share of a dataset's transcripts, those with the highest scores.
    """

    below: Share
    most: Share
    max_tokens: Tokens
    concurrency: Count
    by_night: bool
    in_dataset: bool
    dataset_share: Share


class DesignSettings(Strict):
    """Drafting and trying of domain packs.

    Args:
        attempts: at each file; after a failed one the designer is shown what the loader said.
        max_tokens: room for one file, thinking included.
        contradictions: `refuse` drafts nothing from a brief that contradicts itself; `tell` names it in the report.
        critique: whether the pack's experts review what was drafted.
        ready: share of a pilot's conversations that must pass; a base that passes more without training may need none.
        able: share below which a base is far from the part.
        often: share of failures from which a pilot's report names a criterion; lower: how much less often than in the round before it must pass to be named.
    """

    attempts: Count
    max_tokens: Tokens
    contradictions: Literal["refuse", "tell"]
    critique: bool
    ready: Share
    able: Share
    often: Share
    lower: Share


class CostSettings(Strict):
    """What `make costs` takes for granted, because only real conversations would tell.

    Args:
        user_tokens, answer_tokens: of a simulated user's message and of the assistant's answer.
        thinking_tokens: of each call of a model that thinks.
        verdict_tokens: of a judge's reasoning on one criterion.
        passing: share of the transcripts that pass.
    """

    user_tokens: Count
    answer_tokens: Count
    thinking_tokens: Whole
    verdict_tokens: Count
    passing: Share


def _known_timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as unknown:  # OSError: `Europe` is a folder of the data
        raise ValueError(f"{name!r:.80} is no timezone; allowed are names such as Europe/Berlin, America/New_York or UTC") from unknown
    return name


class NightlySettings(Strict):
    """A batch that is made and assessed every night.

    Args:
        conversations: new ones.
        budget: of one night, in place of the run's.
        for_judging: share of it that is left for the judges: when the rest is spent, no conversation is begun any more.
        until: HH:MM, at which nothing more is begun.
        timezone: of that clock, as in Europe/Berlin.
        nights: before this one, that its report tells of.
    """

    conversations: Count
    budget: Budget
    for_judging: Share
    until: Annotated[str, Field(pattern=r"^([01]\d|2[0-3]):[0-5]\d$")]
    timezone: Annotated[str, AfterValidator(_known_timezone)]
    nights: Whole
