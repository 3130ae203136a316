"""Cuts a transcript into training data: the complete conversation, and prefixes of it that end at points which depend only on its id."""

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
"""Approximate number of tokens that a chat template adds to a message."""

Count = Callable[[str], int]


@dataclass(frozen=True)
class Tokenizer:
    """Counts tokens.

    Args:
        name: name of the vocabulary in the settings.
        count: returns the tokens of a text.
        system, user, assistant: tokens that the chat template adds to a message of this role.
        version: version of the vocabulary's files; empty if the name determines it.
    """

    name: str
    count: Count
    system: int = OVERHEAD
    user: int = OVERHEAD
    assistant: int = OVERHEAD
    version: str = ""


@dataclass(frozen=True)
class Example:
    """One row for supervised fine-tuning: a system prompt and a part of a conversation that ends with an answer.

    Args:
        slice_point: number of the last exchange.
        first_exchange: number of the first exchange.
    """

    transcript_id: str
    slice_point: int
    first_exchange: int
    tokens: int
    messages: list[dict[str, str]]


@dataclass(frozen=True)
class Conversation:
    """One row of the configuration `conversations`: a complete conversation, which has each reply once.

    Args:
        round: round of improvement; 0 if the conversation was rehearsed.
        slices: for each reply, the number of slices that contain it. A reply that no slice has room for has 1 too; 0 means that the reply is only context.
        frame: tokens of the system prompt.
        sizes: tokens of each exchange.
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
    """The slices that were shortened or skipped, with their exchanges and tokens, and the transcripts that were too short."""

    shortened: list[dict[str, str | int]] = field(default_factory=list)
    skipped: list[dict[str, str | int]] = field(default_factory=list)
    too_short: list[str] = field(default_factory=list)


def slice_points(transcript_id: str, exchanges: int, settings: Slicing) -> list[int]:
    """Return the exchanges after which a slice ends; the last is always among them.

    Args:
        transcript_id: seeds the random gaps, so that the same transcript gives the same slices everywhere.
        exchanges: length of the conversation; if it is below `settings.first`, there is no slice.
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
    """Yield the examples of transcripts; the arguments are those of `cut`."""
    for _, examples in cut(transcripts, system_of, settings, tokenizer, report):
        yield from examples


def cut(
    transcripts: Iterable[Transcript], system_of: Callable[[Transcript], str], settings: Slicing, tokenizer: Tokenizer, report: SliceReport
) -> Iterator[tuple[Conversation, list[Example]]]:
    """Yield each conversation with its slices, one transcript at a time. The tokens of each message are counted only once.

    If the provenance has `corrected`, only the replies of these exchanges are trained on. A transcript of a later round has no slices, since they would also
    teach replies that were not corrected.

    Args:
        system_of: returns the short system prompt of a transcript's examples.
        report: updated with the slices that are shortened or skipped.
    """
    for transcript in transcripts:
        if not is_learnable(transcript, settings.first):
            report.too_short.append(transcript.id)
            continue
        corrected, last = transcript.provenance.get("corrected"), len(transcript.exchanges)
        points = slice_points(transcript.id, last, settings) if corrected is None else []
        system = system_of(transcript)
        whole = _conversation(transcript, system, tokenizer)
        later = chat(system, [])  # without the greeting, which belongs to the first exchange
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
    """Return whether a transcript can be trained on: it has corrected exchanges, or enough exchanges for a first slice."""
    corrected = transcript.provenance.get("corrected")
    last = len(transcript.exchanges)
    return last >= first if corrected is None else any(1 <= number <= last for number in corrected)


def round_of(transcript: Transcript) -> int:
    """Return the round of improvement that a transcript comes from; 0 if it was rehearsed."""
    return int(transcript.provenance.get("round", 0))


def _conversation(transcript: Transcript, system: str, tokenizer: Tokenizer) -> Conversation:
    """Return a transcript as one row, with the tokens of its parts; `slices` is still empty."""
    count, frames = tokenizer.count, tokenizer.user + tokenizer.assistant
    opened, frame = system_with(system, transcript.opening), count(system) + tokenizer.system
    sizes = [count(exchange.user) + count(exchange.assistant) + frames for exchange in transcript.exchanges]
    sizes[0] += count(opened) - count(system)
    return Conversation(transcript.id, round_of(transcript), frame + sum(sizes), chat(opened, transcript.exchanges), [], frame, sizes)


def chat(system: str, exchanges: Sequence[Exchange]) -> list[dict[str, str]]:
    """Return a conversation as chat messages in Unicode form NFC.

    A tokenizer may compose a letter with its accent, which llama.cpp does not do; composed text has the same tokens in both.
    """
    messages = [{"role": "system", "content": system}]
    for exchange in exchanges:
        messages += [{"role": "user", "content": exchange.user}, {"role": "assistant", "content": exchange.assistant}]
    return [message | {"content": normalize("NFC", message["content"])} for message in messages]


def split_off(ids: Sequence[str], share: float) -> set[str]:
    """Choose the transcripts for validation by their ids: at least one, and never all.

    A transcript's side does not depend on the other transcripts, except where one side would be empty otherwise.

    Args:
        share: share of the transcripts to choose, from 0 to 1.
    """
    chosen = {name for name in ids if rank(name) < share}
    if not chosen:
        chosen = {min(ids, key=rank)}
    if len(chosen) == len(ids):
        chosen.discard(max(ids, key=rank))
    return chosen


def split_groups(groups: Mapping[str, str], share: float) -> set[str]:
    """Choose the ids for validation, so that no group is split; a group's first id decides. If there is only one group, nothing is chosen.

    Args:
        groups: by id, its group.
        share: share of the groups to choose, from 0 to 1.
    """
    first: dict[str, str] = {}
    for name in sorted(groups):
        first.setdefault(groups[name], name)
    apart = split_off(sorted(first.values()), share) if first else set[str]()
    return {name for name, group in groups.items() if first[group] in apart}


def rank(transcript_id: str) -> float:
    """Return a number from 0 to 1 that depends only on the id; ids below the validation share are for validation."""
    return int(hashlib.sha256(f"split:{transcript_id}".encode()).hexdigest()[:8], 16) / 16**8
