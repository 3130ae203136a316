"""The comparison of two batches, and the trend of a domain's batches and nights."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from core.judging.intervals import difference_interval
from core.pictures import COLOURS, picture
from core.storage.store import Store
from core.views.batch_figures import Figures, Share, figures_of
from core.views.batches import Batch, Row
from core.views.home import Entry, entries


@dataclass(frozen=True)
class ShareComparison:
    """A share in two batches.

    Args:
        id: id of the criterion, or `passed`.
        name: name of the criterion.
        one, other: the share in each batch.
    """

    id: str
    name: str
    one: Share
    other: Share

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """The second share minus the first, with the bounds of its 95 % interval; None if a batch tested nothing."""
        if self.one.value is None or self.other.value is None:
            return None
        return self.other.value - self.one.value, *difference_interval((self.one.hits, self.one.of), (self.other.hits, self.other.of))

    @property
    def apart(self) -> bool:
        """Whether the interval of the difference excludes 0."""
        return self.difference is not None and not self.difference[1] <= 0 <= self.difference[2]


@dataclass(frozen=True)
class Compared:
    """A comparison of two batches.

    Args:
        one, other: the batches.
        figures: the figures of each.
        passed: the shares of passed conversations.
        criteria: the shares of YES, by criterion.
        doubts: reasons why the figures may not be comparable.
        changed: conversations in both batches whose outcomes differ, as a row of each.
    """

    one: Batch
    other: Batch
    figures: tuple[Figures, Figures]
    passed: ShareComparison
    criteria: list[ShareComparison]
    doubts: list[str]
    changed: list[tuple[Row, Row]]


def compare(one: Batch, other: Batch) -> Compared:
    """Return the comparison of two batches."""
    figures = figures_of(one, one.rows), figures_of(other, other.rows)
    names = {line.id: line.name for part in figures for line in part.criteria}
    shares = [{line.id: line.yes for line in part.criteria} for part in figures]
    nothing = Share(0, 0)
    by_path = {row.path: row for row in one.rows}
    shared = [(by_path[row.path], row) for row in other.rows if row.path in by_path]
    changed = [(before, after) for before, after in shared if _outcome(before) != _outcome(after)]
    return Compared(
        one,
        other,
        figures,
        ShareComparison("passed", "", figures[0].passed, figures[1].passed),
        [ShareComparison(key, name, *(part.get(key, nothing) for part in shares)) for key, name in names.items()],
        _doubts(one, other, len(shared)),
        changed,
    )


def _doubts(one: Batch, other: Batch, shared: int) -> list[str]:
    doubts = []
    if one.domain != other.domain:
        doubts.append(f"The batches belong to two domains, {one.domain} and {other.domain}.")
    if sorted(one.by) != sorted(other.by):
        doubts.append(f"They were judged by different judges: {' + '.join(one.by) or 'nobody'} and {' + '.join(other.by) or 'nobody'}.")
    rubrics = [{row.assessment.split("/")[2] for row in batch.rows if row.assessment.count("/") > 2} for batch in (one, other)]
    if rubrics[0] != rubrics[1]:
        doubts.append("They were judged by different versions of the rubric.")
    if shared:
        doubts.append(f"{shared} conversations are in both batches, so the two are not independent and the intervals of the differences are too wide.")
    return doubts


def _outcome(row: Row) -> str:
    return row.result.outcome if row.result else ""


# --- over time -------------------------------------------------------------------------------------------------------------


def trend(store: Store, domain: str) -> list[Entry]:
    """Return a domain's nights, and its batches that belong to no night, the oldest first."""
    judged = [entry for entry in entries(store) if entry.domain == domain and entry.passed]
    of_nights = {entry.address for entry in judged if entry.kind == "night"}
    return [entry for entry in reversed(judged) if entry.kind == "night" or (entry.kind == "batch" and entry.address not in of_nights)]


def trend_picture(domain: str, points: Sequence[Entry]) -> tuple[str, str]:
    """Return the pass rates over time as an SVG file, and a description of it in words.

    Args:
        points: the nights and batches, the oldest first.
    """
    shown = [(entry, entry.passed) for entry in points if entry.passed and entry.passed.of]
    description = "; ".join(f"{entry.kind} {entry.name}: {share}, 95 % interval {share.bounds}" for entry, share in shown)

    def draw(axes: Any) -> None:
        for place, (entry, share) in enumerate(shown):
            low, high = share.interval or (0.0, 0.0)
            colour = COLOURS[2] if entry.kind == "night" else COLOURS[0]
            axes.plot([place, place], [100 * low, 100 * high], color=colour, linewidth=2, solid_capstyle="round")
            axes.plot([place], [100 * (share.value or 0.0)], "o", color=colour, markersize=7)
        axes.plot(range(len(shown)), [100 * (share.value or 0.0) for _, share in shown], color=COLOURS[0], linewidth=0.8, alpha=0.6)
        axes.set_ylim(0, 100)
        axes.set_xlim(-0.5, max(0.5, len(shown) - 0.5))
        axes.set_ylabel("passed, %")
        step = max(1, len(shown) // 12)
        labels = [entry.name if entry.kind == "night" else entry.name.removeprefix("assessments-")[:6] for entry, _ in shown]
        axes.set_xticks(range(0, len(shown), step), labels[::step], rotation=30, ha="right")
        axes.grid(axis="y", alpha=0.25)

    title = f"{domain}: conversations that passed, over time"
    return picture(draw, title, description or "Nothing was judged.", (9, 3.4), alone=True), description
