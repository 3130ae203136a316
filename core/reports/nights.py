"""Nights: the personas of a night, the time at which it must end, and its report."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import Field

from core.records import Record


class Night(Record):
    """The plan of a night.

    Args:
        name: its date.
        first_seed: seed of its first new persona.
        conversations: number of its new personas, which no other night has.
    """

    name: str
    first_seed: int
    conversations: int

    @property
    def seeds(self) -> range:
        """Seeds of the night's new personas."""
        return range(self.first_seed, self.first_seed + self.conversations)


class NightReport(Record):
    """The report of a night.

    Args:
        made: number of conversations, of which `taken_up` were left by earlier nights.
        left: number of conversations left to the next night.
        assessed: number of assessments, also of conversations of earlier nights; the next night judges the incomplete ones again.
        mended: number of transcripts that almost passed, were repaired and pass now; they are not part of `passed`.
        failed_checks: number of transcripts that failed each criterion, including gates.
        left_out: number of items left out, by reason.
        out_of_range: names of the fidelity figures that are out of range.
        usd, calls: cost and number of calls of the night.
        unpriced: number of calls of unknown price.
        seconds: duration of the night.
        batch: name of its batch of assessments below the data root; None if nothing was judged.
        stopped: why it ended before its work was done; None if it did not.
        trouble: messages of errors that need a person.
    """

    night: Night
    made: int
    taken_up: int
    left: int
    assessed: int
    passed: int
    failed: int
    incomplete: int
    mended: int = 0
    failed_checks: dict[str, int] = Field(default_factory=dict)
    left_out: dict[str, int] = Field(default_factory=dict)
    out_of_range: list[str] = Field(default_factory=list)
    usd: float
    calls: int
    unpriced: int
    seconds: float
    batch: str | None = None
    stopped: str | None = None
    trouble: list[str] = Field(default_factory=list)

    @property
    def pass_rate(self) -> float | None:
        """Share of the complete assessments that passed; None if there are none."""
        judged = self.passed + self.failed
        return self.passed / judged if judged else None


def plan_night(name: str, conversations: int, earlier: Sequence[Night], existing_seeds: Collection[int], first_seed: int) -> Night:
    """Return the plan of a night with the next personas: after those of all earlier nights and of all existing conversations.

    Args:
        name: name of the night.
        conversations: number of new conversations.
        earlier: plans of earlier nights.
        existing_seeds: seeds of the existing transcripts.
        first_seed: first seed of the first night.
    """
    used = {*existing_seeds, *(seed for night in earlier for seed in night.seeds)}
    return Night(name=name, first_seed=max(first_seed, max(used, default=first_seed - 1) + 1), conversations=conversations)


def left_by(earlier: Sequence[Night], existing_seeds: Collection[int]) -> list[int]:
    """Return the seeds of earlier nights that have no conversation, in ascending order of the nights."""
    existing = set(existing_seeds)
    return [seed for night in sorted(earlier, key=lambda night: night.first_seed) for seed in night.seeds if seed not in existing]


def ends_at(until: str, timezone: str, now: datetime) -> datetime:
    """Return the next time at which the clock of a place shows an hour.

    Args:
        until: the hour, as HH:MM.
        timezone: name of the place's timezone.
        now: the current time, with a timezone.
    """
    here = now.astimezone(ZoneInfo(timezone))
    hour, minute = map(int, until.split(":"))
    end = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # a day is added on the clock of the place, so a change to or from summer time does not move the hour
    return end if end > here else (end + timedelta(days=1))


def bar(share: float | None, width: int = 20) -> str:
    """Return a share as a bar of text, `width` characters wide; None gives an empty bar."""
    filled = 0 if share is None else round(share * width)
    return "█" * filled + "░" * (width - filled)
