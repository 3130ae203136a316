"""How a batch of personas covers the taxonomy: what was due by weight, and what came up."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from core.pack import Pack
from core.records import Persona


@dataclass(frozen=True)
class Row:
    """One value of one dimension.

    Args:
        due: personas that its weight asks for; got: those that have it.
    """

    dimension: str
    value: str
    due: float
    got: int


def coverage(pack: Pack, personas: Sequence[Persona]) -> list[Row]:
    """Return a row for each value of each dimension, topic and flaw; a persona's several topics and flaws all count."""
    taxonomy, count = pack.taxonomy, len(personas)
    topics = sum(len(persona.topics) for persona in personas)
    rows = _rows("topic", {name: group.weight for name, group in taxonomy.topics.items()}, Counter(t.category for p in personas for t in p.topics), topics)
    subtopics = {name: group.weight / len(group.subtopics) for group in taxonomy.topics.values() for name in group.subtopics}
    rows += _rows("subtopic", subtopics, Counter(topic.subtopic for persona in personas for topic in persona.topics), topics)
    for dimension, values in taxonomy.dimensions.items():
        had = Counter(persona.trajectory if dimension == "trajectory" else persona.dimensions[dimension] for persona in personas)
        rows += _rows(dimension, {name: value.weight for name, value in values.items()}, had, count)
    flaws = {name: kind.weight for kinds in pack.flaws.categories.values() for name, kind in kinds.items()}
    primary = Counter(persona.flaws[0].name for persona in personas if persona.flaws)
    rows += _rows("primary flaw", flaws, primary, primary.total())
    none = pack.flaws.none_share
    return rows + _rows("flaws", {"none": none, "some": 1 - none}, Counter("some" if persona.flaws else "none" for persona in personas), count)


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text; what is off by more than the batch's size explains is marked."""
    lines = [f"{'':24}{'':28}{'due':>8}{'got':>6}"]
    for before, row in zip([None, *rows], rows, strict=False):
        name = row.dimension if before is None or before.dimension != row.dimension else ""
        lines.append(f"{name:24}{row.value:28}{row.due:8.1f}{row.got:6}{'  !' if is_off(row) else ''}")
    return "\n".join(lines)


def is_off(row: Row) -> bool:
    """Say whether a value came up clearly more or less often than it was due."""
    return abs(row.got - row.due) > max(2.0, 0.25 * row.due)


def _rows(dimension: str, weights: Mapping[str, float], had: Counter[str], count: int) -> list[Row]:
    return [Row(dimension, name, weight * count, had[name]) for name, weight in weights.items()]
