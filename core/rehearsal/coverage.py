"""How a batch of personas covers the taxonomy: the number expected from the weights, and the number drawn."""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from core.packs.pack import Pack
from core.records import Persona
from core.rehearsal.episodes import episode_weights
from core.rehearsal.personas import flaw_weights, topic_weights

Name = TypeVar("Name")


@dataclass(frozen=True)
class Row:
    """One value of one dimension.

    Args:
        due: expected number of personas with the value, from the weights.
        got: number of personas with the value.
    """

    dimension: str
    value: str
    due: float
    got: int


def coverage(pack: Pack, personas: Sequence[Persona]) -> list[Row]:
    """Return a row for each value of each dimension, and for each topic, episode and primary flaw.

    All topics of a persona count. The expected number leaves out what the pack excludes for a persona: a persona that can never have a topic adds
    nothing to the topic's expected number.
    """
    due: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
    got: dict[str, Counter[str]] = defaultdict(Counter)
    for persona in personas:
        drawn = {**persona.dimensions, "trajectory": persona.trajectory}
        subtopics = topic_weights(pack, drawn)
        for (category, name), share in _shares(subtopics).items():
            due["topic"][category] += share * len(persona.topics)
            due["subtopic"][name] += share * len(persona.topics)
        got["topic"].update(topic.category for topic in persona.topics)
        got["subtopic"].update(topic.subtopic for topic in persona.topics)
        for dimension in pack.taxonomy.dimensions:
            _add(due[dimension], pack.taxonomy.weights(dimension, drawn))
            got[dimension][drawn[dimension]] += 1
        if persona.flaws:
            _add(due["primary flaw"], _shares(flaw_weights(pack, drawn)))
            got["primary flaw"][persona.flaws[0].name] += 1
        _add(due["episodes"], {"none": 1 - pack.episodes.share, "some": pack.episodes.share})
        got["episodes"]["some" if persona.episodes else "none"] += 1
        if persona.episodes:
            _add(due["episode"], _shares(episode_weights(pack, drawn, persona.exchanges)))
            got["episode"][persona.episodes[0].name] += 1
        _add(due["flaws"], {"none": pack.flaws.none_share, "some": 1 - pack.flaws.none_share})
        got["flaws"]["some" if persona.flaws else "none"] += 1
    return [Row(dimension, name, share, got[dimension][name]) for dimension, shares in due.items() for name, share in shares.items()]


def table(rows: Sequence[Row]) -> str:
    """Return the rows as text; a row that is off is marked with "!", which the last line explains."""
    lines = [f"{'':24}{'':28}{'due':>8}{'got':>6}"]
    for before, row in zip([None, *rows], rows, strict=False):
        name = row.dimension if before is None or before.dimension != row.dimension else ""
        lines.append(f"{name:24}{row.value:28}{row.due:8.1f}{row.got:6}{'  !' if is_off(row) else ''}")
    if any(map(is_off, rows)):
        lines += ["", "! drawn clearly more or less often than the weights ask for; usual in a small batch."]
    return "\n".join(lines)


def is_off(row: Row) -> bool:
    """Return whether a value occurs clearly more or less often than expected: by more than two personas and more than 25 %."""
    return abs(row.got - row.due) > max(2.0, 0.25 * row.due)


def _shares(weights: Mapping[Name, float]) -> dict[Name, float]:
    total = sum(weights.values())
    return {name: weight / total for name, weight in weights.items()}


def _add(sums: dict[str, float], more: Mapping[str, float]) -> None:
    for name, share in more.items():
        sums[name] += share
