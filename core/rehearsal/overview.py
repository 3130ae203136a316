"""Figures of a batch of personas, for a person to read before anything is paid for."""

import textwrap
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from core.packs.pack import Pack
from core.records import Persona
from core.rehearsal.course import steer
from core.rehearsal.lengths import summarise_lengths

WIDTH = 100
"""Maximum characters of a line."""


def overview(pack: Pack, personas: Sequence[Persona]) -> dict[str, Any]:
    """Return the figures of a batch.

    Returns:
        `personas` (number), `exchanges`, `topics` and `days_between_messages` (mean and percentiles), `episode_messages` and `event_messages` (shares
        of all messages), `episodes` and `countries` (number of personas with each), `clauses` (number of conversations that exercise each clause), and
        `cooperation` (shares of messages, by difficulty if the pack has this dimension).
    """
    episodes, clauses, countries = Counter[str](), Counter[str](), Counter[str]()
    cooperation: dict[str, Counter[str]] = defaultdict(Counter)
    days, messages = [], sum(persona.exchanges for persona in personas)
    for persona in personas:
        episodes.update({episode.name for episode in persona.episodes})
        clauses.update(exercised(pack, persona))
        countries.update([place.rpartition(", ")[2]] if (place := persona.life.get("place")) else [])
        for number in range(2, persona.exchanges + 1):
            steering = steer(pack, persona, number, minimum=1)
            cooperation[persona.dimensions.get("difficulty", "everybody")][steering.cooperation] += 1
            days.append(steering.days)
    return {
        "personas": len(personas),
        "exchanges": _spread([persona.exchanges for persona in personas]),
        "topics": _spread([len(persona.topics) for persona in personas]),
        "episode_messages": sum(len(episode.beats) for persona in personas for episode in persona.episodes) / messages,
        "event_messages": sum(len(persona.events) for persona in personas) / messages,
        "episodes": dict(episodes.most_common()),
        "clauses": {clause: clauses[clause] for clause in _all_clauses(pack)},
        "cooperation": {name: {kind: count / drawn.total() for kind, count in drawn.most_common()} for name, drawn in sorted(cooperation.items())},
        "countries": dict(countries.most_common()),
        "days_between_messages": _spread(days),
    }


def overview_lines(figures: dict[str, Any]) -> list[str]:
    """Return the figures as lines of text."""

    def row(values: dict[str, float]) -> str:
        return ", ".join(f"{name.replace('_', ' ')} {100 * value:.1f} %" for name, value in values.items())

    def counts(values: dict[str, int]) -> str:
        return ", ".join(f"{name} {count}" for name, count in values.items()) or "none"

    lines = [
        f"{title}: {', '.join(f'{name} {value:g}' for name, value in figures[key].items())}"
        for key, title in (("exchanges", "Exchanges"), ("topics", "Topics"), ("days_between_messages", "Days between messages"))
        if figures[key]
    ]
    lines.append(f"Messages in an episode {100 * figures['episode_messages']:.1f} %, after an event {100 * figures['event_messages']:.1f} %")
    lines.append(f"Episodes: {counts(figures['episodes'])}")
    if figures["clauses"]:
        lines.append(f"Clauses exercised: {counts(figures['clauses'])}")
    lines += [f"Cooperation, {name.replace('_', ' ')}: {row(shares)}" for name, shares in figures["cooperation"].items()]
    if figures["countries"]:
        lines.append(f"Countries: {counts(figures['countries'])}")
    return [textwrap.fill(line, WIDTH, subsequent_indent="  ", break_on_hyphens=False) for line in lines]


def _spread(numbers: Sequence[int]) -> dict[str, float]:
    """Return the mean and the percentiles of whole numbers; an empty dict if there are none."""
    lengths = summarise_lengths(numbers)
    return {name: round(value, 1) for name, value in lengths.model_dump(exclude={"conversations"}).items()} if lengths else {}


def exercised(pack: Pack, persona: Persona) -> set[str]:
    """Return the clauses, such as CQ9.passive, that a persona's conversation exercises."""
    clauses: set[str] = set()
    for topic in persona.topics:
        clauses |= set(pack.taxonomy.topics[topic.category].subtopics[topic.subtopic].exercises)
    for episode in persona.episodes:
        kind = pack.episodes.episodes[episode.name]
        clauses |= {*kind.exercises, *kind.variants[episode.variant].exercises}
    return clauses


def _all_clauses(pack: Pack) -> Iterable[str]:
    return (f"{key}.{name}" for key, criterion in pack.rubric.criteria.items() for name in criterion.head.clauses)
