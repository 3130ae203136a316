"""Stand-in until near-duplicates are there."""

from collections.abc import Iterable
from dataclasses import dataclass

from core.records import Transcript
from core.yaml_files import Strict


class DuplicateSettings(Strict):
    """Stand-in."""

    similarity: float = 0.8
    share: float = 0.8


@dataclass(frozen=True)
class Duplicate:
    """Stand-in."""

    dropped: str
    kept: str
    share: float
    exact: bool


def near_duplicates(items: Iterable[tuple[Transcript, float]], settings: DuplicateSettings) -> list[Duplicate]:
    """Stand-in."""
    return []
