"""Personas: simulated users drawn from a pack, the same for the same seed on any machine."""

import random
from collections.abc import Mapping, Sequence

from core.errors import PersonaError
from core.fingerprint import seed_of
from core.pack import Pack
from core.records import Flaw, Persona, Topic


def sample_persona(pack: Pack, seed: int, exchanges: tuple[int, int] | None = None) -> Persona:
    """Draw the persona of a seed.

    Args:
        pack: the domain.
        seed: any natural number.
        exchanges: lowest and highest length of the conversation, instead of the pack's length classes.
    """
    draw = random.Random(seed_of("persona", pack.name, seed))
    taxonomy = pack.taxonomy
    low, high = exchanges or taxonomy.length_classes[pick(draw, {name: item.weight for name, item in taxonomy.length_classes.items()})].exchanges
    return Persona(
        id=f"{pack.name}-persona-{seed}",
        seed=seed,
        name=draw.choice(taxonomy.names),
        topics=_topics(draw, pack),
        flaws=_flaws(draw, pack),
        trajectory=pick(draw, {name: value.weight for name, value in taxonomy.dimensions["trajectory"].items()}),
        dimensions={
            dimension: pick(draw, {name: value.weight for name, value in values.items()})
            for dimension, values in taxonomy.dimensions.items()
            if dimension != "trajectory"
        },
        exchanges=draw.randint(low, high),
    )


def sample_batch(pack: Pack, first_seed: int, count: int, exchanges: tuple[int, int] | None = None) -> list[Persona]:
    """Draw the personas of consecutive seeds."""
    return [sample_persona(pack, seed, exchanges) for seed in range(first_seed, first_seed + count)]


def check_seeds_apart(training: Sequence[int], evaluation: Sequence[int]) -> None:
    """Refuse to evaluate on a persona that was trained on.

    Raises:
        PersonaError: a seed is in both.
    """
    if shared := sorted(set(training) & set(evaluation)):
        raise PersonaError(
            f"Evaluation personas {shared[:5]} were used for training ({len(shared)} of {len(evaluation)}). The comparison would flatter the "
            "understudy. Raise evaluation.first_seed above every training seed."
        )


def pick(draw: random.Random, weights: Mapping[str, float]) -> str:
    """Draw a name by weight."""
    return draw.choices(list(weights), list(weights.values()))[0]


def _topics(draw: random.Random, pack: Pack) -> list[Topic]:
    wanted = draw.randint(*pack.taxonomy.topics_per_persona)
    topics: dict[str, Topic] = {}
    while len(topics) < wanted:
        category = pick(draw, {name: group.weight for name, group in pack.taxonomy.topics.items()})
        subtopic = draw.choice(list(pack.taxonomy.topics[category].subtopics))
        description = pack.taxonomy.topics[category].subtopics[subtopic].description
        topics.setdefault(subtopic, Topic(category=category, subtopic=subtopic, description=description, weight=draw.choice([1.0, 2.0, 3.0])))
    return list(topics.values())


def _flaws(draw: random.Random, pack: Pack) -> list[Flaw]:
    taxonomy = pack.flaws
    if draw.random() < taxonomy.none_share:
        return []
    left = {name: (category, kind) for category, kinds in taxonomy.categories.items() for name, kind in kinds.items()}
    flaws: list[Flaw] = []
    for _ in range(1 + draw.randint(*taxonomy.secondary)):
        name = pick(draw, {name: kind.weight for name, (_, kind) in left.items()})
        category, kind = left.pop(name)
        level = "secondary" if flaws else "primary"
        flaws.append(Flaw(name=name, category=category, level=level, description=kind.description, notes=kind.notes))
    return flaws
