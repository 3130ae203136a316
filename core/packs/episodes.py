"""The schema of `episodes.yaml`: edge cases that a persona may meet, each once or twice in a conversation and never throughout it."""

from typing import Annotated

from pydantic import Field, model_validator

from core.packs.taxonomy import NotWith, Text, Weight, Word, sums_to_one
from core.quantities import Exchanges, Share
from core.yaml_files import Strict

MIN_MESSAGES = 2
"""Minimum messages of an episode: the one in which it arrives, and the reply to the assistant's answer."""

Direction = Annotated[str, Field(min_length=1)]
"""A stage direction for the user simulator: what the message shows and what it holds back."""

Exercises = Annotated[list[str], Field(description="Clauses of criteria that it exercises, such as CQ9.passive.")]


class Variant(Strict):
    """One way in which an episode continues after the assistant's answer.

    Args:
        weight: probability of the variant.
        exercises: clauses that it exercises.
        plays: stage direction for the message after the answer.
    """

    weight: Weight
    exercises: Exercises = Field(default_factory=list)
    plays: Direction


class EpisodeKind(Strict):
    """An edge case, played over consecutive messages: `builds`, `arrives`, `plays` of a variant, `after`.

    Args:
        weight: probability of the episode among all episodes.
        description: text for people.
        words: words that show the episode in a text, as those of a subtopic do.
        fewest_exchanges: minimum length of a conversation with the episode.
        urgent: whether safety comes before length, so that an answer may have any length.
        life: facts of the persona that the episode replaces.
        builds, arrives, after, returns: stage directions; `returns` is for a second arrival.
    """

    weight: Weight
    description: Text
    exercises: Exercises = Field(default_factory=list)
    words: list[Word] = Field(default_factory=list)
    not_with: NotWith = Field(default_factory=dict)
    fewest_exchanges: Exchanges = MIN_MESSAGES
    urgent: bool = False
    life: dict[str, Text] = Field(default_factory=dict)
    builds: Direction | None = None
    arrives: Direction
    variants: dict[str, Variant] = Field(min_length=1)
    after: Direction | None = None
    returns: Direction | None = None

    @property
    def clauses(self) -> set[str]:
        """All clauses that the episode exercises, in any variant."""
        parts = (self.exercises, *(variant.exercises for variant in self.variants.values()))
        return {clause for part in parts for clause in part}


class Episodes(Strict):
    """`episodes.yaml`.

    Args:
        share: share of personas with an episode.
        second: share of the long conversations with an episode that have a second one.
        most_of_messages: maximum share of a batch's messages that are part of an episode.
    """

    share: Share = 0.0
    second: Share = 0.0
    most_of_messages: Share = 1.0
    episodes: dict[str, EpisodeKind] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _whole(self) -> "Episodes":
        if bool(self.episodes) != bool(self.share):
            raise ValueError("share must be above 0 with episodes and 0 without; add some, or set it to 0")
        if self.episodes:
            sums_to_one("episodes", {name: kind.weight for name, kind in self.episodes.items()})
            if all(kind.not_with or kind.fewest_exchanges > MIN_MESSAGES for kind in self.episodes.values()):
                raise ValueError(f"episodes: at least one must go with everyone, from {MIN_MESSAGES} exchanges on")
        for name, kind in self.episodes.items():
            weights = {variant: item.weight for variant, item in kind.variants.items()}
            sums_to_one(f"episodes.{name}.variants", weights)
        return self
