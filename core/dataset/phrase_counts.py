"""Counts the transcripts in which each phrase occurs, in bounded memory."""

import itertools
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from core.judging.ordinary_english import runs


@dataclass(frozen=True)
class Phrase:
    """A run of words within a sentence of the assistant.

    Args:
        transcripts: number of transcripts in which the assistant uses it.
        by_users: number of transcripts in which the user uses it.
        uses: how often the assistant uses it in all transcripts.
        example: id of a transcript in which the assistant uses it.
    """

    text: str
    transcripts: int
    by_users: int
    uses: int
    example: str


class _Count(NamedTuple):
    assistant: int
    user: int
    uses: int
    missed: int
    example: str


class PhraseCounts:
    """The number of transcripts that contain each phrase.

    This is lossy counting: at the end of each window of transcripts the rarest phrases are dropped, so that memory holds little more than the phrases of one
    window. A count is never too high, and too low by at most one per complete window. A phrase that is common from the first window on is counted exactly.

    Source:
        Manku & Motwani, "Approximate frequency counts over data streams", VLDB (2002): 346–357, with a window's transcripts for its bucket.
    """

    def __init__(self, sizes: tuple[int, int], window: int) -> None:
        """Count phrases of `sizes` words (fewest, most), and drop rare ones after every `window` transcripts."""
        self._sizes, self._window = range(sizes[0], sizes[1] + 1), window
        self._counts: dict[str, _Count] = {}
        self._transcripts = 0

    def __len__(self) -> int:
        return len(self._counts)

    def add(self, name: str, assistant: Sequence[str], user: Sequence[str]) -> None:
        """Add the phrases of a transcript.

        Args:
            name: id of the transcript.
            assistant, user: the messages of each side; a phrase counts once per side.
        """
        windows, counts = self._transcripts // self._window, self._counts
        first = _Count(1, 0, 1, windows, name)  # shared by nearly all new phrases of the transcript: most occur once and are dropped
        for phrase, uses in self._phrases(assistant).items():
            before = counts.get(phrase)
            if before:
                counts[phrase] = _Count(before.assistant + 1, before.user, before.uses + uses, before.missed, before.example or name)
            else:
                counts[phrase] = first if uses == 1 else _Count(1, 0, uses, windows, name)
        first = _Count(0, 1, 0, windows, "")
        for phrase in set(self._phrases(user)):
            before = counts.get(phrase)
            counts[phrase] = _Count(before.assistant, before.user + 1, before.uses, before.missed, before.example) if before else first
        self._transcripts += 1
        if self._transcripts % self._window == 0:
            self._counts = {text: item for text, item in self._counts.items() if item.assistant + item.user + item.missed > windows + 1}

    def over_represented(self, share: float, ratio: float) -> list[Phrase]:
        """Return the phrases that the assistant over-uses, longest first.

        Args:
            share: smallest share of the transcripts in which the assistant uses it.
            ratio: smallest ratio of the transcripts in which the assistant uses it to those in which the user does.
        """
        phrases = [
            Phrase(text, item.assistant, item.user, item.uses, item.example)
            for text, item in self._counts.items()
            if item.assistant and item.assistant / self._transcripts >= share and item.assistant >= ratio * item.user
        ]
        return sorted(phrases, key=lambda item: (-item.text.count(" "), -item.transcripts, item.text))

    def _phrases(self, texts: Sequence[str]) -> Counter[str]:
        return Counter(itertools.chain.from_iterable(runs(text, *self._sizes) for text in texts))


def without_parts(phrases: Sequence[Phrase], same: float) -> Iterator[Phrase]:
    """Yield phrases, without those that are part of a longer one; of overlapping phrases of a sentence only the first is yielded.

    Args:
        phrases: longest first.
        same: ratio of their transcripts up to which a phrase counts as part of the longer one that contains it.
    """
    beginning, ending, covered = _by_edge(phrases, slice(None, -1)), _by_edge(phrases, slice(1, None)), dict[str, int]()
    for phrase in phrases:
        if phrase.transcripts <= same * covered.get(phrase.text, 0):
            continue
        group, first = [phrase], phrase
        for member in group:  # the list grows during the loop
            words = member.text.split()
            before, after = ending[" ".join(words[:-1])], beginning[" ".join(words[1:])]
            group += [item for item in [*before, *after] if item not in group and phrase.transcripts / same <= item.transcripts <= same * phrase.transcripts]
            if member is first:
                first = next((item for item in before if item in group and item.text not in covered), first)
            for part in _parts(words):
                covered[part] = max(covered.get(part, 0), member.transcripts)
        yield first


def _by_edge(phrases: Sequence[Phrase], edge: slice) -> dict[str, list[Phrase]]:
    by_edge: dict[str, list[Phrase]] = defaultdict(list)
    for phrase in phrases:
        by_edge[" ".join(phrase.text.split()[edge])].append(phrase)
    return by_edge


def _parts(words: Sequence[str]) -> Iterator[str]:
    return (" ".join(words[start : start + size]) for size in range(2, len(words) + 1) for start in range(len(words) - size + 1))
