"""Nights: which personas a night is about, when it must end, and what the last ones came to."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from pydantic import Field

from core.records import Record


class Night(Record):
    """What a night was given.

    Args:
        name: its date.
        first_seed, conversations: its own personas; no other night has one of them.
    """

    name: str
    first_seed: int
    conversations: int

    @property
    def seeds(self) -> range:
        """The seeds of its personas."""
        return range(self.first_seed, self.first_seed + self.conversations)


class NightReport(Record):
    """What a night came to.

    Args:
        made: conversations, of which `taken_up` were left by earlier nights; left: those that the next night takes up.
        assessed: of whatever night; incomplete ones are judged again the next night.
        mended: transcripts that almost passed, were mended and pass now; they are not among `passed`.
        failed_checks: how many transcripts failed each criterion, gates among them.
        left_out: reasons, and how often each was given.
        out_of_range: measures of the simulated users.
        batch: name of its batch of assessments below the data root; none if nothing was judged.
        usd, calls: of the night; unpriced: calls whose price is not known.
        stopped: why it ended before its work was done; none if it did not.
        trouble: what needs a person.
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
        """Share of the complete assessments that passed; none if there are none."""
        judged = self.passed + self.failed
        return self.passed / judged if judged else None


def plan_night(name: str, conversations: int, earlier: Sequence[Night], made: Collection[int], first_seed: int) -> Night:
    """Give a night the next personas: after those of all earlier nights, and of all conversations that are there.

    Args:
        made: seeds of the transcripts that are there.
        first_seed: of the first night.
    """
    known = {*made, *(seed for night in earlier for seed in night.seeds)}
    return Night(name=name, first_seed=max(first_seed, max(known, default=first_seed - 1) + 1), conversations=conversations)


def left_by(earlier: Sequence[Night], made: Collection[int]) -> list[int]:
    """Return the seeds that earlier nights were given and have no conversation, in their order."""
    there = set(made)
    return [seed for night in sorted(earlier, key=lambda night: night.first_seed) for seed in night.seeds if seed not in there]


def ends_at(until: str, timezone: str, now: datetime) -> datetime:
    """Return the next time the clock shows an hour.

    Args:
        until: HH:MM.
        now: with its timezone.
    """
    here = now.astimezone(ZoneInfo(timezone))
    hour, minute = map(int, until.split(":"))
    end = here.replace(hour=hour, minute=minute, second=0, microsecond=0)
    # the day is counted on the clock of the place, which goes over the change to summer time and back
    return end if end > here else (end + timedelta(days=1))


def bar(share: float | None, width: int = 20) -> str:
    """Return a share as a bar of text."""
    filled = 0 if share is None else round(share * width)
    return "█" * filled + "░" * (width - filled)
