"""When a persona meets an edge case: once or twice in a conversation, over a few consecutive messages, with ordinary messages before and after."""

from collections.abc import Mapping

from core.packs.episodes import MIN_MESSAGES, EpisodeKind
from core.packs.pack import Pack
from core.packs.taxonomy import goes_with
from core.records import Beat, BeatPart, Episode
from core.rehearsal.low_discrepancy import at, spread

SECOND_FROM = 16
"""Minimum exchanges of a conversation with two episodes; in a shorter one the episodes would take most of it."""
RETURNS_FROM = 25
"""Minimum exchanges of a conversation in which an episode may come back."""
RETURNS = 0.5
"""Share of these conversations in which the episode comes back, if the pack lets it return."""
APART = 4
"""Minimum distance from the last message of one episode to the first of the next, in messages."""
PART = 3
"""An episode takes at most one in PART messages of a conversation, but never fewer than an episode's minimum."""


def has_episode(pack: Pack, seed: int) -> bool:
    """Return whether a persona is among those that have episodes; if none fits into its conversation, it still has none."""
    return _place(pack, seed) < pack.episodes.share


def draw_episodes(pack: Pack, seed: int, drawn: Mapping[str, str], exchanges: int) -> list[Episode]:
    """Return the episodes of a persona, in the order of their messages.

    Args:
        drawn: the persona's value of each dimension.
        exchanges: length of the conversation.
    """
    rules, place = pack.episodes, _place(pack, seed)
    if place >= rules.share:
        return []
    all_weights, left = {name: kind.weight for name, kind in rules.episodes.items()}, episode_weights(pack, drawn, exchanges)
    if not left:  # no episode fits into so short a conversation
        return []
    first = at(all_weights, place / rules.share)
    if first not in left:
        first = at(left, spread(seed, pack.name, "another episode"))
    episodes = _placed(pack, seed, first, 1, exchanges)
    del left[first]
    if left and exchanges >= SECOND_FROM and spread(seed, pack.name, "second episode") < rules.second:
        begin = episodes[-1].beats[-1].exchange_number + APART
        episodes += _placed(pack, seed, at(left, spread(seed, pack.name, "which second episode")), begin, exchanges)
    return episodes


def episode_weights(pack: Pack, drawn: Mapping[str, str], exchanges: int) -> dict[str, float]:
    """Return the weights of the episodes that the persona's dimensions allow and that fit into its conversation."""
    return {name: kind.weight for name, kind in pack.episodes.episodes.items() if kind.fewest_exchanges <= exchanges and goes_with(kind.not_with, drawn)}


def _place(pack: Pack, seed: int) -> float:
    """Return a persona's place in [0, 1). Below the share of personas with episodes, it also decides which episode comes first."""
    return spread(seed, pack.name, "episode")


def _placed(pack: Pack, seed: int, name: str, begin: int, exchanges: int) -> list[Episode]:
    """Return an episode placed from a message on, and its return if there is one; an empty list if there is no room.

    Args:
        name: name of the episode.
        begin: number of the first message that the episode may take.
    """
    kind = pack.episodes.episodes[name]
    variants = {variant: item.weight for variant, item in kind.variants.items()}

    def once(number: int, begin: int, arrives: str) -> Episode | None:
        variant = at(variants, spread(seed, pack.name, "variant", name, number))
        beats = _beats(kind, variant, arrives, min(exchanges - begin + 1, max(MIN_MESSAGES, exchanges // PART)), first=number == 1)
        if len(beats) < MIN_MESSAGES:
            return None
        # leave a message before it and one after it if the length allows
        low, high = begin + (begin == 1), exchanges - len(beats)
        if low > high and begin > 1:
            return None
        low, high = (low, high) if low <= high else (begin, exchanges - len(beats) + 1)
        start = low + int(spread(seed, pack.name, "episode begins", name, number) * (high - low + 1))
        return Episode(
            name=name,
            variant=variant,
            beats=[Beat(exchange_number=start + place, part=part, direction=text) for place, (part, text) in enumerate(beats)],
        )

    first = once(1, begin, kind.arrives)
    if first is None:
        return []
    if kind.returns is None or exchanges < RETURNS_FROM or spread(seed, pack.name, "episode returns") >= RETURNS:
        return [first]
    second = once(2, first.beats[-1].exchange_number + APART, kind.returns)
    return [first, second] if second else [first]


def _beats(kind: EpisodeKind, variant: str, arrives: str, room: int, first: bool) -> list[tuple[BeatPart, str]]:
    """Return the parts of an episode with their stage directions: always `arrives` and `plays`, the others if there is room.

    Args:
        arrives: stage direction of the first or second arrival.
        room: maximum number of messages; fewer than an episode's minimum give an empty list.
        first: whether this is the first arrival, the only one that builds up.
    """
    parts: list[tuple[BeatPart, str]] = [("arrives", arrives), ("plays", kind.variants[variant].plays)]
    if kind.after and room > len(parts):
        parts.append(("after", kind.after))
    if kind.builds and first and room > len(parts):
        parts.insert(0, ("builds", kind.builds))
    return parts if room >= MIN_MESSAGES else []
