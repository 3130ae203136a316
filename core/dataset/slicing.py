"""From a transcript to training examples: prefixes of the conversation, cut at points that depend on its id alone."""

import bisect
import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from unicodedata import normalize

from core.packs.openings import system_with
from core.records import Exchange, Transcript
from core.settings.pipeline import Slicing

OVERHEAD = 4
"""Tokens that a message's frame takes in a chat template, about."""

Count = Callable[[str], int]


@dataclass(frozen=True)
class Tokenizer:
    """How tokens are counted.

    Args:
        name: of the vocabulary, as the settings name it.
        count: tokens of a text.
        system, user, assistant: tokens that the frame of such a message takes.
        version: of its files, where the name does not say it.
    """

    name: str
    count: Count
    system: int = OVERHEAD
    user: int = OVERHEAD
    assistant: int = OVERHEAD
    version: str = ""


@dataclass(frozen=True)
class Example:
    """One SFT row: a system prompt and a stretch of a conversation that ends with an answer."""

    transcript_id: str
    slice_point: int
    first_exchange: int
    tokens: int
    messages: list[dict[str, str]]


@dataclass
class SliceReport:
    """What happened to the slices: shortened or skipped ones (exchanges before and after, tokens after), and transcripts that were too short."""

    shortened: list[dict[str, str | int]] = field(default_factory=list)
    skipped: list[dict[str, str | int]] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)


def slice_points(transcript_id: str, exchanges: int, settings: Slicing) -> list[int]:
    """Return the exchanges after which a conversation is cut, the last always among them.

    Args:
        transcript_id: seeds the draw, so that the same file gives the same slices everywhere.
        exchanges: length of the conversation; below `settings.first` there is no slice.
    """
    if exchanges < settings.first:
        return []
    if settings.whole:
        return [exchanges]
    draw = random.Random(int(hashlib.sha256(transcript_id.encode()).hexdigest()[:8], 16))
    points = []
    point = settings.first
    while point < exchanges:
        points.append(point)
        point += draw.randint(*settings.gap)
    return [*points, exchanges]


def slices(
    transcripts: Iterable[Transcript], system_of: Callable[[Transcript], str], settings: Slicing, tokenizer: Tokenizer, report: SliceReport
) -> Iterator[Example]:
    """Cut transcripts into examples, one transcript at a time. Each message is counted once, and prefix sums do the rest.

    Args:
        system_of: returns the short system prompt that is trained in with a transcript.
        report: filled in on the way.
    """
    count, frames = tokenizer.count, tokenizer.user + tokenizer.assistant
    for transcript in transcripts:
        points = slice_points(transcript.id, len(transcript.exchanges), settings)
        if not points:
            report.too_short.append(transcript.id)
            continue
        system = system_of(transcript)
        frame = count(system) + tokenizer.system
        sizes = [count(exchange.user) + count(exchange.assistant) + frames for exchange in transcript.exchanges]
        begun = system_with(system, transcript.opening)
        sizes[0] += count(begun) - count(system)  # the greeting goes with the first exchange
        sums = [0, *itertools.accumulate(sizes)]
        for point in points:
            start = min(bisect.bisect_left(sums, frame + sums[point] - settings.max_tokens), point)
            tokens = frame + sums[point] - sums[start]
            entry: dict[str, str | int] = {"transcript": transcript.id, "slice": point, "exchanges": point, "kept": point - start, "tokens": tokens}
            if point - start < settings.first:
                report.skipped.append(entry)
                continue
            if start:
                report.shortened.append(entry)
            yield Example(transcript.id, point, start + 1, tokens, chat(system if start else begun, transcript.exchanges[start:point]))


def chat(system: str, exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
    """Return a conversation as chat messages, composed (NFC): a tokenizer may compose a letter and its accent, and llama.cpp does not."""
    messages = [{"role": "system", "content": system}]
    for exchange in exchanges:
        messages += [{"role": "user", "content": exchange.user}, {"role": "assistant", "content": exchange.assistant}]
    return [message | {"content": normalize("NFC", message["content"])} for message in messages]


def split_off(ids: Sequence[str], share: float) -> set[str]:
    """Choose the transcripts that are kept for validation: by id, at least one and never all.

    A transcript's side does not depend on which others there are, but for the guarantee that neither side is empty.
    """
    rank = {name: int(hashlib.sha256(f"split:{name}".encode()).hexdigest()[:8], 16) / 16**8 for name in ids}
    chosen = {name for name in ids if rank[name] < share}
    if not chosen:
        chosen = {min(ids, key=rank.__getitem__)}
    if len(chosen) == len(ids):
        chosen.discard(max(ids, key=rank.__getitem__))
    return chosen
