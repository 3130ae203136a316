"""Personas for an evaluation from the user's file, in place of sampled ones."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from core.errors import PersonaError, nearest
from core.packs.pack import Pack
from core.quantities import MAX_SEED
from core.records import Persona
from core.rehearsal.course import is_open
from core.rehearsal.personas import sample_persona
from core.yaml_files import check, read_yaml

FORM = "a list of seeds, or of complete personas in the form that a transcript has under `persona`"


def read_personas(path: Path, pack: Pack, exchanges: tuple[int, int] | None) -> list[Persona]:
    """Read personas from a JSON or YAML file; an entry that is only a seed gives the pack's persona with that seed.

    Args:
        path: the file.
        pack: the pack that samples and checks personas.
        exchanges: minimum and maximum number of exchanges for entries that are seeds; None for the pack's length classes.

    Raises:
        PersonaError: the file is missing or of another form, two personas have the same seed, or one has a value that the pack does not define.
    """
    entries = read_yaml(path, PersonaError)
    if not isinstance(entries, list) or not entries:
        raise PersonaError(f"{path} is {'not a list' if entries else 'empty'}. Allowed: {FORM}.")
    personas = [_persona(path, place, item, pack, exchanges) for place, item in enumerate(entries, start=1)]
    seeds = [persona.seed for persona in personas]
    if twice := sorted({seed for seed in seeds if seeds.count(seed) > 1}):
        raise PersonaError(f"{path}: {len(twice)} seeds occur more than once, such as {twice[0]}. Give each persona once.")
    return personas


def check_enough(personas: Sequence[Persona], where: str) -> None:
    """Check that there are enough personas to compare arms.

    Args:
        where: the source of the personas, for the message.

    Raises:
        PersonaError: there are fewer than two personas.
    """
    if len(personas) < 2:
        raise PersonaError(
            f"{where} gives {len(personas)} persona. The arms are compared over personas, and one shows no spread between them: give at least 2, and 6 to "
            "reach p < 0.05."
        )


def _persona(path: Path, place: int, item: Any, pack: Pack, exchanges: tuple[int, int] | None) -> Persona:
    if isinstance(item, int) and not isinstance(item, bool) and 0 <= item <= MAX_SEED:
        return sample_persona(pack, item, exchanges)
    if not isinstance(item, dict):
        raise PersonaError(f"{path}: entry {place} is {json.dumps(item)[:60]}. Allowed: {FORM}, with seeds from 0 to {MAX_SEED:,}.")
    persona = check(item, Persona, PersonaError, f"{path}: entry {place}")
    dimensions = {name: list(values) for name, values in pack.taxonomy.dimensions.items()}
    given = {**persona.dimensions, "trajectory": persona.trajectory}
    if lacking := sorted(dimensions.keys() - given.keys()):
        raise PersonaError(f"{path}: entry {place} has no value for {', '.join(lacking)}. Give it one of {', '.join(dimensions[lacking[0]])}.")
    for kind, allowed, values in (("dimension", dimensions, given), ("flaw", dict.fromkeys(pack.flaws.kinds), {flaw.name: None for flaw in persona.flaws})):
        for name, value in values.items():
            if name not in allowed:
                raise PersonaError(f"{path}: entry {place} has the {kind} {name!r}, which {pack.name} does not know. Allowed: {', '.join(allowed)}.")
            if value is not None and value not in (allowed[name] or []):
                raise PersonaError(f"{path}: entry {place}: {name} is {value!r}. Allowed: {', '.join(allowed[name] or [])}.")
    if not persona.topics:
        raise PersonaError(f"{path}: entry {place} has no topic. A persona brings up at least one.")
    for topic in persona.topics:
        group = pack.taxonomy.topics.get(topic.category)
        if group is None or topic.subtopic not in group.subtopics:
            names = [f"{category}/{name}" for category, category_topics in pack.taxonomy.topics.items() for name in category_topics.subtopics]
            topic_name = f"{topic.category}/{topic.subtopic}"
            raise PersonaError(f"{path}: entry {place} has the topic {topic_name!r:.80}.{nearest(topic_name, names)} Allowed: {', '.join(names)}.")
    _check_course(f"{path}: entry {place}", persona, pack)
    return persona


def _check_course(where: str, persona: Persona, pack: Pack) -> None:
    """Check that the pack defines a persona's country and episodes, and that each of its messages has an open topic."""
    if "trajectory" in persona.dimensions:
        raise PersonaError(f"{where} has the trajectory among its dimensions. Give it as `trajectory` alone.")
    if persona.country is not None and persona.country not in pack.life.countries:
        countries = ", ".join(pack.life.countries) or f"none, since {pack.name} has no countries"
        raise PersonaError(f"{where} has the country {persona.country!r:.80}. Allowed: {countries}.")
    for episode in persona.episodes:
        kind = pack.episodes.episodes.get(episode.name)
        if kind is None or episode.variant not in kind.variants:
            known_names = [f"{name}/{variant}" for name, item in pack.episodes.episodes.items() for variant in item.variants]
            name = f"{episode.name}/{episode.variant}"
            raise PersonaError(f"{where} has the episode {name!r:.80}.{nearest(name, known_names)} Allowed: {', '.join(known_names) or 'none'}.")
    for number in range(1, persona.exchanges + 1):
        if not any(is_open(topic, number) or number in (topic.settles, topic.returns) for topic in persona.topics):
            raise PersonaError(f"{where}: none of its topics is on the persona's mind in message {number}. Let one arrive earlier, or be settled later.")
