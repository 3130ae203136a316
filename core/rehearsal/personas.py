"""Personas: simulated users drawn from a pack, the same for the same seed on any machine."""

import random
from collections.abc import Mapping, Sequence

from core.errors import PersonaError
from core.fingerprint import seed_of
from core.packs.pack import Pack
from core.packs.taxonomy import LengthClass, goes_with
from core.records import Episode, Flaw, Persona, Topic
from core.rehearsal.episodes import draw_episodes
from core.rehearsal.life import draw_events, draw_life, first_day, home, with_courses
from core.rehearsal.low_discrepancy import at, spread, within


def sample_persona(pack: Pack, seed: int, exchanges: tuple[int, int] | None = None) -> Persona:
    """Return the persona of a seed; those of consecutive seeds meet the taxonomy's weights as closely as their number allows.

    Args:
        pack: the domain.
        seed: any natural number.
        exchanges: lowest and highest length of the conversation, instead of the pack's length classes.
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
    """Return how many exchanges the conversation of a seed's persona is to have, and its episodes; the rest of a persona takes several times as long."""
    _, length = draw_length(pack, seed)
    return length, draw_episodes(pack, seed, _dimensions(pack, seed), length)


def draw_length(pack: Pack, seed: int, exchanges: tuple[int, int] | None = None) -> tuple[LengthClass, int]:
    """Return the length class of a seed's persona and how many exchanges its conversation is to have; arguments as for `sample_persona`."""
    taxonomy = pack.taxonomy
    kinds = {name: item.weight for name, item in taxonomy.length_classes.items()}
    kind = taxonomy.length_classes[_due(kinds, pack, seed, "length class")]
    low, high = exchanges or kind.exchanges
    length = low + int(spread(seed, pack.name, "length") * (high - low + 1))
    return (taxonomy.length_class(length) if exchanges else kind), length


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


def _due(weights: Mapping[str, float], pack: Pack, seed: int, *purpose: object) -> str:
    return at(weights, spread(seed, pack.name, *purpose))


def _dimensions(pack: Pack, seed: int) -> dict[str, str]:
    """Return a persona's value of each dimension."""
    taxonomy, drawn, together = pack.taxonomy, dict[str, str](), set[str]()
    for name in sorted(taxonomy.dimensions, key=lambda name: name in taxonomy.depends):  # what others depend on comes first
        other = taxonomy.depends.get(name, name)
        if name == other or other in together:
            place = spread(seed, pack.name, name)
        else:  # where in its stretch the other value was found is as even as that was, so that the two are even together
            place = within(taxonomy.weights(other, drawn), spread(seed, pack.name, other))
            together.add(other)
        drawn[name] = at(taxonomy.weights(name, drawn), place)
    return drawn


def _name(pack: Pack, seed: int) -> str:
    """Return a name that one has where the persona lives; the taxonomy's come again only when all the others had their turn."""
    if (found := home(pack, seed)) and (own := pack.life.countries[found[0]].names):
        return own[int(found[1] * len(own))]
    names = pack.taxonomy.names
    turn, place = divmod(seed, len(names))
    order = list(names)
    random.Random(seed_of("names", pack.name, turn)).shuffle(order)
    return order[place]


def topic_weights(pack: Pack, drawn: Mapping[str, str]) -> dict[tuple[str, str], float]:
    """Return the weights of the categories' subtopics that go with what a persona has of the dimensions."""
    fitting = {
        category: [name for name, subtopic in group.subtopics.items() if goes_with(subtopic.not_with, drawn)]
        for category, group in pack.taxonomy.topics.items()
    }
    return {(category, name): pack.taxonomy.topics[category].weight / len(names) for category, names in fitting.items() for name in names}


def flaw_weights(pack: Pack, drawn: Mapping[str, str]) -> dict[str, float]:
    """Return the weights of the flaws that go with what a persona has of the dimensions."""
    return {name: kind.weight for name, kind in pack.flaws.kinds.items() if goes_with(kind.not_with, drawn)}


def _topics(pack: Pack, seed: int, drawn: Mapping[str, str], kind: LengthClass) -> list[Topic]:
    low, high = kind.topics or pack.taxonomy.topics_per_persona
    groups, everything, left = pack.taxonomy.topics, topic_weights(pack, {}), topic_weights(pack, drawn)
    topics: list[Topic] = []
    for number in range(high):
        place = spread(seed, pack.name, "topic", number)
        if number >= low:  # each topic beyond the fewest is there for every other persona; one number decides whether and which, so that both are even
            if place < 0.5:
                continue
            place = 2 * place - 1
        category, subtopic = at(everything, place)
        if (category, subtopic) not in left:  # one that does not go with the persona, or that it has: another of the same category, so that those stay even
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
    everything, left, flaws = flaw_weights(pack, {}), flaw_weights(pack, drawn), list[Flaw]()
    for number in range(1 + low + int(spread(seed, pack.name, "flaws") * (high - low + 1))):
        name = at(everything, spread(seed, pack.name, "flaw", number) if number else place)
        if name not in left:
            name = at(left, spread(seed, pack.name, "another flaw", number))
        del left[name]
        category, kind = kinds[name]
        level = "secondary" if flaws else "primary"
        flaws.append(Flaw(name=name, category=category, level=level, description=kind.description, notes=kind.notes))
    return flaws
