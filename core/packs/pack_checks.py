"""Checks that the files of a pack fit together."""

from collections.abc import Collection, Mapping
from pathlib import Path

from core.errors import PackError, nearest
from core.packs.episodes import MIN_MESSAGES, Episodes
from core.packs.life import TOPIC, Life, Services
from core.packs.phrases import ScriptedPhrases
from core.packs.rubric import Rubric
from core.packs.taxonomy import Flaws, Taxonomy, check_not_with


def check_reached(bounds: Mapping[str, tuple[bool, int]], taxonomy: Taxonomy, folder: Path) -> None:
    """Check that every criterion applies to some conversation of the pack, and every gate to all conversations.

    Args:
        bounds: for each criterion, whether it is a gate and the number of the first exchange to which it applies.
        folder: folder of the criteria, for the error.

    Raises:
        PackError: a criterion or a gate does not.
    """
    shortest, longest = (pick(item.exchanges[end] for item in taxonomy.length_classes.values()) for end, pick in ((0, min), (1, max)))
    for name, (gate, first) in bounds.items():
        bound = shortest if gate else longest
        if first > bound:
            kind, which = ("gate", "shortest") if gate else ("criterion", "longest")
            raise PackError(
                f"{folder}: the {kind} {name} applies from exchange {first} on, but the {which} conversation of length_classes "
                f"has {bound}. Allowed: 1 to {bound}."
            )


def check_flaws(config: Path, taxonomy: Taxonomy, flaws: Flaws) -> None:
    """Check that the flaws exclude values that exist, and that each cooperation factor of a dimension has a weight to multiply.

    Raises:
        PackError: a value does not exist, or a factor has no weight.
    """
    try:
        check_not_with("categories", {name: kind.not_with for name, kind in flaws.kinds.items()}, taxonomy)
    except ValueError as wrong:
        raise PackError(f"{config / 'flaw-taxonomy.yaml'}: {wrong}.") from wrong
    for dimension, values in taxonomy.dimensions.items():
        for name, value in values.items():
            if unknown := sorted(set(value.cooperation) - set(flaws.cooperation)):
                raise PackError(
                    f"{config / 'input-taxonomy.yaml'}: dimensions.{dimension}.{name}.cooperation has a factor for {unknown[0]!r}, which has no weight in "
                    f"flaw-taxonomy.yaml. Allowed: {', '.join(flaws.cooperation)}."
                )


def check_people(config: Path, taxonomy: Taxonomy, episodes: Episodes, life: Life, services: Services | None) -> None:
    """Check that taxonomy, episodes, life and services fit together.

    Raises:
        PackError: the first contradiction.
    """
    try:
        check_not_with("episodes", {name: kind.not_with for name, kind in episodes.episodes.items()}, taxonomy)
        shortest = min(item.exchanges[0] for item in taxonomy.length_classes.values())
        if episodes.episodes and shortest < MIN_MESSAGES:
            raise ValueError(f"an episode takes {MIN_MESSAGES} exchanges, and the shortest conversation of length_classes has {shortest}")
        for detail in life.details:  # one at a time, because two details may have the same text
            check_not_with("life.yaml", {detail.text: detail.not_with}, taxonomy, {TOPIC: taxonomy.subtopics})
        if life.by is not None and life.by not in taxonomy.dimensions:
            raise ValueError(f"life.yaml: `by` names the dimension {life.by!r}; allowed: {', '.join(taxonomy.dimensions)}")
        for name, texts in life.facts.items():
            if isinstance(texts, dict) and set(texts) != set(taxonomy.dimensions[life.by or ""]):
                raise ValueError(f"life.yaml: facts.{name} needs a list for each of {', '.join(taxonomy.dimensions[life.by or ''])}")
        for name, kind in episodes.episodes.items():
            if unknown := sorted(set(kind.life) - set(life.facts)):
                raise ValueError(f"episodes.{name}.life names {unknown}; allowed: {', '.join(life.facts) or 'nothing, since life.yaml has no facts'}")
        if services and set(services.countries) != set(life.countries):
            raise ValueError(f"services.yaml and life.yaml differ in the countries {sorted(set(services.countries) ^ set(life.countries))}")
    except ValueError as wrong:
        raise PackError(f"{config}: {wrong}.") from wrong


def check_clauses(config: Path, known: Collection[str], taxonomy: Taxonomy, episodes: Episodes) -> None:
    """Check that subtopics and episodes exercise clauses that a criterion has.

    Args:
        known: all clauses, as `criterion.clause`.

    Raises:
        PackError: a clause does not exist.
    """
    subtopics = {name: set(item.exercises) for group in taxonomy.topics.values() for name, item in group.subtopics.items()}
    for name, clauses in (subtopics | {name: kind.clauses for name, kind in episodes.episodes.items()}).items():
        for clause in sorted(clauses - set(known)):
            raise PackError(
                f"{config}: {name} exercises {clause!r}, which no criterion has.{nearest(clause, known)} Allowed: {', '.join(sorted(known)) or 'none'}."
            )


def check_phrases(path: Path, phrases: ScriptedPhrases, rubric: Rubric, flaws: Flaws, taxonomy: Taxonomy, episodes: Episodes) -> None:
    """Check that the scripted provider has phrases for each criterion, topic, mood, flaw and episode of the pack, and for nothing else.

    Args:
        path: path of `scripted.yaml`, for the error.

    Raises:
        PackError: a phrase is missing, or belongs to nothing.
    """
    for place, names, allowed in (
        ("judge", set(phrases.judge), set(rubric.criteria)),
        ("topics", set(phrases.topics), {name for group in taxonomy.topics.values() for name in group.subtopics}),
        ("user.feelings", set(phrases.user.feelings), set(taxonomy.moods)),
        ("user.flaws", set(phrases.user.flaws), set(flaws.kinds)),
        ("user.episodes", set(phrases.user.episodes), set(episodes.episodes)),
    ):
        if names != allowed:
            raise PackError(f"{path}: `{place}` is missing {sorted(allowed - names)} and has unknown {sorted(names - allowed)}. Name each once.")
    for name, script in phrases.user.episodes.items():
        if set(script.plays) != (variants := set(episodes.episodes[name].variants)):
            raise PackError(f"{path}: `user.episodes.{name}.plays` has {sorted(script.plays)}. Allowed: the variants {', '.join(sorted(variants))}, each once.")
