"""Two batches side by side, and a domain's batches and nights over time."""

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
class Beside:
    """A share in two batches.

    Args:
        difference: of the second less the first, with its interval; none where one of them tested nothing.
    """

    id: str
    name: str
    one: Share
    other: Share

    @property
    def difference(self) -> tuple[float, float, float] | None:
        """The difference, and its 95 % interval."""
        if self.one.value is None or self.other.value is None:
            return None
        return self.other.value - self.one.value, *difference_interval((self.one.hits, self.one.of), (self.other.hits, self.other.of))

    @property
    def apart(self) -> bool:
        """Whether chance alone does not explain the difference."""
        return self.difference is not None and not self.difference[1] <= 0 <= self.difference[2]


@dataclass(frozen=True)
class Compared:
    """Two batches side by side.

    Args:
        doubts: why the figures may not be taken for what they seem.
        changed: conversations that are in both with another outcome, as they are in each.
    """

    one: Batch
    other: Batch
    figures: tuple[Figures, Figures]
    passed: Beside
    criteria: list[Beside]
    doubts: list[str]
    changed: list[tuple[Row, Row]]


def compare(one: Batch, other: Batch) -> Compared:
    """Put two batches side by side."""
    figures = figures_of(one, one.rows), figures_of(other, other.rows)
    names = {line.id: line.name for part in figures for line in part.criteria}
    shares = [{line.id: line.yes for line in part.criteria} for part in figures]
    nothing = Share(0, 0)
    both = {row.path: row for row in one.rows}
    shared = [(both[row.path], row) for row in other.rows if row.path in both]
    changed = [(before, after) for before, after in shared if _outcome(before) != _outcome(after)]
    return Compared(
        one,
        other,
        figures,
        Beside("passed", "", figures[0].passed, figures[1].passed),
        [Beside(key, name, *(part.get(key, nothing) for part in shares)) for key, name in names.items()],
        _doubts(one, other, len(shared)),
        changed,
    )


def _doubts(one: Batch, other: Batch, shared: int) -> list[str]:
    said = []
    if one.domain != other.domain:
        said.append(f"The batches are of two domains, {one.domain} and {other.domain}.")
    if sorted(one.by) != sorted(other.by):
        said.append(f"Other judges judged them: {' + '.join(one.by) or 'nobody'} and {' + '.join(other.by) or 'nobody'}.")
    rubrics = [{row.assessment.split("/")[2] for row in batch.rows if row.assessment.count("/") > 2} for batch in (one, other)]
    if rubrics[0] != rubrics[1]:
        said.append("They were judged by different versions of the rubric.")
    if shared:
        said.append(f"{shared} conversations are in both, so that the two are not independent, and the intervals of the differences are too wide.")
    return said


def _outcome(row: Row) -> str:
    return row.result.outcome if row.result else ""


# --- over time -------------------------------------------------------------------------------------------------------------


def trend(store: Store, domain: str) -> list[Entry]:
    """Return a domain's nights, and its batches that are of no night, the first made first."""
    found = [entry for entry in entries(store) if entry.domain == domain and entry.passed]
    of_nights = {entry.address for entry in found if entry.kind == "night"}
    return [entry for entry in reversed(found) if entry.kind == "night" or (entry.kind == "batch" and entry.address not in of_nights)]


def trend_picture(domain: str, points: Sequence[Entry]) -> tuple[str, str]:
    """Return the pass rates over time as an SVG file, and what it shows in words."""
    shown = [(entry, entry.passed) for entry in points if entry.passed and entry.passed.of]
    said = "; ".join(f"{entry.kind} {entry.name}: {share}, 95 % interval {share.bounds}" for entry, share in shown)

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
    return picture(draw, title, said or "Nothing was judged.", (9, 3.4), alone=True), said
