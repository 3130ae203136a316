"""Personas: simulated users drawn from a pack; a seed gives the same persona on any machine."""

import random
from collections.abc import Mapping, Sequence

from core.errors import PersonaError
from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.packs.taxonomy import LengthClass, goes_with
from core.records import Episode, Flaw, Persona, Topic
from core.rehearsal.episodes import draw_episodes, has_episode
from core.rehearsal.life import draw_events, draw_life, first_day, home, with_courses
from core.rehearsal.low_discrepancy import at, spread, within


def sample_persona(pack: Pack, seed: int, exchanges: tuple[int, int] | None = None) -> Persona:
    """Return the persona of a seed; the personas of consecutive seeds match the taxonomy's weights as closely as their number allows.

    Args:
        pack: the domain.
        seed: any natural number.
        exchanges: minimum and maximum length of the conversation; None takes the pack's length classes.
    """
    taxonomy = pack.taxonomy
    kind, length = draw_length(pack, seed, exchanges)
    drawn = _dimensions(pack, seed)
    episodes = draw_episodes(pack, seed, drawn, length)
    topics = _topics(pack, seed, drawn, kind)
    life, country = draw_life(pack, seed, drawn, topics)
    for episode in episodes:
        life |= pack.episodes.episodes[episode.name].life
    taken = {beat.exchange_number for episode in episodes for beat in episode.beats}
    return Persona(
        id=f"{pack.name}-persona-{seed}",
        seed=seed,
        name=_name(pack, seed),
        topics=with_courses(pack, seed, topics, length),
        flaws=_flaws(pack, seed, drawn),
        trajectory=drawn["trajectory"],
        dimensions={name: drawn[name] for name in taxonomy.dimensions if name != "trajectory"},
        exchanges=length,
        begins=first_day(pack, seed).isoformat(),
        life=life,
        country=country,
        events=draw_events(pack, seed, drawn, topics, length, kind.events, taken),
        episodes=episodes,
    )


def episodes_met(pack: Pack, seed: int) -> tuple[int, list[Episode]]:
    """Return the planned exchanges of a seed's persona and its episodes; drawing the whole persona takes several times as long."""
    _, length = draw_length(pack, seed)
    return length, draw_episodes(pack, seed, _dimensions(pack, seed), length) if has_episode(pack, seed) else []


def draw_length(pack: Pack, seed: int, exchanges: tuple[int, int] | None = None) -> tuple[LengthClass, int]:
    """Return the length class and the planned exchanges of a seed's persona; arguments as for `sample_persona`."""
    taxonomy = pack.taxonomy
    kinds = {name: item.weight for name, item in taxonomy.length_classes.items()}
    kind = taxonomy.length_classes[at(kinds, spread(seed, pack.name, "length class"))]
    low, high = exchanges or kind.exchanges
    length = low + int(spread(seed, pack.name, "length") * (high - low + 1))
    return (taxonomy.length_class(length) if exchanges else kind), length


def sample_batch(pack: Pack, first_seed: int, count: int, exchanges: tuple[int, int] | None = None) -> list[Persona]:
    """Return the personas of consecutive seeds."""
    return [sample_persona(pack, seed, exchanges) for seed in range(first_seed, first_seed + count)]


def check_seeds_apart(training: Sequence[int], evaluation: Sequence[int]) -> None:
    """Check that no evaluation persona was used for training.

    Raises:
        PersonaError: a seed is in both sets.
    """
    if shared := sorted(set(training) & set(evaluation)):
        raise PersonaError(
            f"Evaluation personas {shared[:5]} were used for training ({len(shared)} of {len(evaluation)}). The comparison would flatter the "
            "understudy. Raise evaluation.first_seed above every training seed."
        )


def pick(draw: random.Random, weights: Mapping[str, float]) -> str:
    """Return a name, drawn by weight."""
    return draw.choices(list(weights), list(weights.values()))[0]


def _dimensions(pack: Pack, seed: int) -> dict[str, str]:
    """Return a persona's value of each dimension."""
    taxonomy, drawn, together = pack.taxonomy, dict[str, str](), set[str]()
    for name in sorted(taxonomy.dimensions, key=lambda name: name in taxonomy.depends):  # dimensions that others depend on come first
        other = taxonomy.depends.get(name, name)
        if name == other or other in together:
            place = spread(seed, pack.name, name)
        else:  # the position within the other value's interval is evenly spread too, so each combination of the two gets its share
            place = within(taxonomy.weights(other, drawn), spread(seed, pack.name, other))
            together.add(other)
        drawn[name] = at(taxonomy.weights(name, drawn), place)
    return drawn


def _name(pack: Pack, seed: int) -> str:
    """Return a name that is usual where the persona lives; a name of the taxonomy's list recurs only after all the others."""
    if (residence := home(pack, seed)) and (local_names := pack.life.countries[residence[0]].names):
        return local_names[int(residence[1] * len(local_names))]
    names = pack.taxonomy.names
    turn, place = divmod(seed, len(names))
    order = list(names)
    random.Random(seed_of("names", pack.name, turn)).shuffle(order)
    return order[place]


def topic_weights(pack: Pack, drawn: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """Return the weights of the subtopics that a persona's dimensions allow, by category and subtopic.

    Args:
        drawn: the persona's value of each dimension; an empty mapping excludes nothing.
    """
    fitting = {
        category: [name for name, subtopic in group.subtopics.items() if goes_with(subtopic.not_with, drawn)]
        for category, group in pack.taxonomy.topics.items()
    }
    return {(category, name): pack.taxonomy.topics[category].weight / len(names) for category, names in fitting.items() for name in names}


def flaw_weights(pack: Pack, drawn: Mapping[str, str]) -> dict[str, float]:
    """Return the weights of the flaws that a persona's dimensions allow; arguments as for `topic_weights`."""
    return {name: kind.weight for name, kind in pack.flaws.kinds.items() if goes_with(kind.not_with, drawn)}


def _topics(pack: Pack, seed: int, drawn: Mapping[str, str], kind: LengthClass) -> list[Topic]:
    low, high = kind.topics or pack.taxonomy.topics_per_persona
    groups, all_weights, left = pack.taxonomy.topics, topic_weights(pack, {}), topic_weights(pack, drawn)
    topics: list[Topic] = []
    for number in range(high):
        place = spread(seed, pack.name, "topic", number)
        if number >= low:  # half of the personas have each optional topic; one number decides whether and which, so that both are evenly spread
            if place < 0.5:
                continue
            place = 2 * place - 1
        category, subtopic = at(all_weights, place)
        if (category, subtopic) not in left:  # excluded or already drawn: take another of the same category, so that categories stay evenly spread
            others = {key: weight for key, weight in left.items() if key[0] == category} or left
            category, subtopic = at(others, spread(seed, pack.name, "another topic", number))
        del left[category, subtopic]
        weight = 1.0 + int(3 * spread(seed, pack.name, "topic weight", number))
        topics.append(Topic(category=category, subtopic=subtopic, description=groups[category].subtopics[subtopic].description, weight=weight))
    return topics


def _flaws(pack: Pack, seed: int, drawn: Mapping[str, str]) -> list[Flaw]:
    taxonomy = pack.flaws
    place = spread(seed, pack.name, "flaw")
    if place < taxonomy.none_share:
        return []
    place = (place - taxonomy.none_share) / (1 - taxonomy.none_share)
    low, high = taxonomy.secondary
    kinds = {name: (category, kind) for category, category_kinds in taxonomy.categories.items() for name, kind in category_kinds.items()}
    all_weights, left, flaws = flaw_weights(pack, {}), flaw_weights(pack, drawn), list[Flaw]()
    for number in range(1 + low + int(spread(seed, pack.name, "flaws") * (high - low + 1))):
        name = at(all_weights, spread(seed, pack.name, "flaw", number) if number else place)
        if name not in left:
            name = at(left, spread(seed, pack.name, "another flaw", number))
        del left[name]
        category, kind = kinds[name]
        level = "secondary" if flaws else "primary"
        flaws.append(Flaw(name=name, category=category, level=level, description=kind.description, notes=kind.notes))
    return flaws
