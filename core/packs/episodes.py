"""The schema of `episodes.yaml`: the edge cases that a persona may meet, each once or twice in a conversation and never in all of it."""

from typing import Annotated

from pydantic import Field, model_validator

from core.packs.taxonomy import NotWith, Text, Weight, Word, sums_to_one
from core.quantities import Exchanges, Share
from core.yaml_files import Strict

MIN_MESSAGES = 2
"""Messages that any episode takes: the one in which it comes, and what follows the answer to it."""

Direction = Annotated[str, Field(min_length=1)]
"""A stage direction for the user simulator: what the message shows and holds back."""

Exercises = Annotated[list[str], Field(description="Clauses of criteria that it exercises, such as CQ9.passive.")]


class Variant(Strict):
    """One way in which an episode continues after the assistant's answer.

    Args:
        plays: stage direction for the message after the answer.
    """

    weight: Weight
    exercises: Exercises = Field(default_factory=list)
    plays: Direction


class EpisodeKind(Strict):
    """An edge case, played over consecutive messages: `builds`, `arrives`, `plays` of a variant, `after`.

    Args:
        description: for people.
        words: that give it away in a text, as those of a subtopic do.
        fewest_exchanges: of a conversation that may have it.
        urgent: whether safety comes before length, so that an answer may have any.
        life: facts of the persona that it replaces.
        builds, arrives, after: stage directions; `returns` is that of a second arrival.
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
        """All clauses that it exercises, in any variant."""
        parts = (self.exercises, *(variant.exercises for variant in self.variants.values()))
        return {clause for part in parts for clause in part}


class Episodes(Strict):
    """`episodes.yaml`.

    Args:
        share: of personas that have an episode.
        second: of the long conversations, the share that has another one.
        most_of_messages: share of a batch's messages that may be a part of an episode.
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
