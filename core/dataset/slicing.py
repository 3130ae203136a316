"""From a transcript to what is trained on: the conversation, and its prefixes, cut at points that depend on its id alone."""

import bisect
import hashlib
import itertools
import random
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
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


@dataclass(frozen=True)
class Conversation:
    """One row of the configuration `conversations`: a whole conversation, of which each reply is there once.

    Args:
        slices: for each reply, how many slices teach it; 0 is context that is not learnt, and 1 also a reply that no slice has room for.
        round: of improvement; 0 is rehearsed.
        frame: tokens of the system prompt; sizes: tokens of each exchange.
    """

    transcript_id: str
    round: int
    tokens: int
    messages: list[dict[str, str]]
    slices: list[int]
    frame: int
    sizes: list[int]


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
    """Cut transcripts into examples; arguments as for `cut`."""
    for _, examples in cut(transcripts, system_of, settings, tokenizer, report):
        yield from examples


def cut(
    transcripts: Iterable[Transcript], system_of: Callable[[Transcript], str], settings: Slicing, tokenizer: Tokenizer, report: SliceReport
) -> Iterator[tuple[Conversation, list[Example]]]:
    """Yield each conversation with its slices, one transcript at a time. Each message is counted once, and prefix sums do the rest.

    A transcript whose provenance has `corrected` teaches these exchanges alone, and one of a later round has no slices: those would teach what was not
    corrected.

    Args:
        system_of: returns the short system prompt that is trained in with a transcript.
        report: filled in on the way.
    """
    for transcript in transcripts:
        if not is_learnable(transcript, settings.first):
            report.too_short.append(transcript.id)
            continue
        corrected, last = transcript.provenance.get("corrected"), len(transcript.exchanges)
        points = slice_points(transcript.id, last, settings) if corrected is None else []
        system = system_of(transcript)
        whole = _conversation(transcript, system, tokenizer)
        later = chat(system, [])  # the greeting goes with the first exchange
        sums, taught, examples = [0, *itertools.accumulate(whole.sizes)], [0] * last, list[Example]()
        for point in points:
            start = min(bisect.bisect_left(sums, whole.frame + sums[point] - settings.max_tokens), point)
            tokens = whole.frame + sums[point] - sums[start]
            entry: dict[str, str | int] = {"transcript": transcript.id, "slice": point, "exchanges": point, "kept": point - start, "tokens": tokens}
            if point - start < settings.first:
                report.skipped.append(entry)
                continue
            if start:
                report.shortened.append(entry)
            taught[start:point] = [times + 1 for times in taught[start:point]]
            messages = (later if start else whole.messages[:1]) + whole.messages[1 + 2 * start : 1 + 2 * point]
            examples.append(Example(transcript.id, point, start + 1, tokens, messages))
        learnt = set(range(1, last + 1) if corrected is None else corrected)
        times = [max(1, count) if number in learnt else 0 for number, count in enumerate(taught, 1)]
        yield replace(whole, slices=times), [] if whole.round else examples


def is_learnable(transcript: Transcript, first: int) -> bool:
    """Return whether a transcript has something to teach: corrected exchanges, or as many exchanges as a first slice."""
    corrected = transcript.provenance.get("corrected")
    last = len(transcript.exchanges)
    return last >= first if corrected is None else any(1 <= number <= last for number in corrected)


def round_of(transcript: Transcript) -> int:
    """Return the round of improvement that a transcript comes from; 0 is rehearsed."""
    return int(transcript.provenance.get("round", 0))


def _conversation(transcript: Transcript, system: str, tokenizer: Tokenizer) -> Conversation:
    """Return a transcript as one row, with what its parts take; how often a reply is taught is not known yet."""
    count, frames = tokenizer.count, tokenizer.user + tokenizer.assistant
    begun, frame = system_with(system, transcript.opening), count(system) + tokenizer.system
    sizes = [count(exchange.user) + count(exchange.assistant) + frames for exchange in transcript.exchanges]
    sizes[0] += count(begun) - count(system)
    return Conversation(transcript.id, round_of(transcript), frame + sum(sizes), chat(begun, transcript.exchanges), [], frame, sizes)


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
    chosen = {name for name in ids if rank(name) < share}
    if not chosen:
        chosen = {min(ids, key=rank)}
    if len(chosen) == len(ids):
        chosen.discard(max(ids, key=rank))
    return chosen


def split_groups(groups: Mapping[str, str], share: float) -> set[str]:
    """Choose the ids that are kept for validation, all of a group or none: the first id of each decides. Of a single group nothing is kept.

    Args:
        groups: by id, the group that it belongs to.
    """
    first: dict[str, str] = {}
    for name in sorted(groups):
        first.setdefault(groups[name], name)
    apart = split_off(sorted(first.values()), share) if first else set[str]()
    return {name for name, group in groups.items() if first[group] in apart}


def rank(transcript_id: str) -> float:
    """Return a number from 0 to 1 that an id alone decides: those below the validation share are kept apart."""
    return int(hashlib.sha256(f"split:{transcript_id}".encode()).hexdigest()[:8], 16) / 16**8
