"""Reads transcripts from elsewhere, in any of the known formats. The files are not changed."""

import json
import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any
from unicodedata import normalize

from core.errors import TranscriptError
from core.imports.conversation_shapes import conversations_in, read_talk
from core.imports.foreign_files import files_below, json_lines, read_json, refuse_unsafe, shown
from core.imports.table_files import TABLES, is_table_metadata, table_rows
from core.records import Exchange, Transcript
from core.thinking import without_thinking

LINES = (".jsonl", ".ndjson")
READ = (".json", *LINES, *TABLES)
"""Endings of the files that are read."""
MAX_ID = 200
"""Largest number of characters of a transcript's id."""
MAX_TEXT, MAX_EXCHANGES, MAX_PERSONA = 200_000, 2_000, 100_000
"""Largest number of characters of a message, of exchanges, and of characters of a persona as JSON. A message of 200,000 characters exceeds the context of
most models, and a judge reads a complete conversation."""

COPY = re.compile(r"(?<![a-z])(backups?|bak|copy|old)(?![a-z])", re.IGNORECASE)
"""Words in the name of a file or folder that mark it as a copy of another."""


@dataclass
class FoundTranscripts:
    """The transcripts of a folder, and what was left out.

    A place is the file's path below the folder and, if the file holds several conversations, the line, row or number in it.

    Args:
        transcripts: by place, the transcripts.
        left_out: by place, why something is not a transcript or was left out.
        notes: by kind, how often something was joined, dropped or left out within the transcripts.
        unread: by ending, the number of files that are not read.
        doubles: by id, further transcripts with the id of one in `transcripts` but a different text.
        files: number of files that were read.
    """

    transcripts: dict[str, Transcript] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    doubles: dict[str, list[Transcript]] = field(default_factory=dict)
    files: int = 0

    def notices(self) -> list[str]:
        """Return sentences for the user about what was left out or changed."""
        lines = shown([f"Left out: {place}: {reason}" for place, reason in self.left_out.items()])
        if self.notes:
            lines.append(f"Within the transcripts: {', '.join(f'{count} {note}' for note, count in self.notes.most_common())}.")
        if self.unread:
            lines.append(f"Files of types that are not read: {_counted(self.unread)}. Types that are read: {', '.join(READ)}.")
        return lines


def find_transcripts(folder: Path) -> FoundTranscripts:
    """Read all conversations of all files below a folder, or of one file, sorted by path but with files that are marked as copies last.

    A conversation that cannot be read, or whose id an earlier one has, is left out with the reason; the others are still read.

    Raises:
        TranscriptError: the folder does not exist, or holds no readable transcript.
    """
    if not folder.is_dir() and not folder.is_file():
        raise TranscriptError(f"{folder} is not a folder. Give the folder that holds the transcripts ({', '.join(READ)}).")
    paths, closed, unread = files_below(folder, READ) if folder.is_dir() else ([folder], {}, Counter())
    paths.sort(key=lambda path: _is_copy(_below(folder, path)))  # of two with the same id the original is used
    reading = FoundTranscripts(left_out={_below(folder, path): reason for path, reason in closed.items()}, unread=unread)
    first: dict[str, str] = {}
    for path in paths:
        if is_table_metadata(path):
            continue
        reading.files += 1
        try:
            for place, item in _conversations(path, _below(folder, path)):
                _take(reading, first, place, item, path, folder)
        except TranscriptError as error:
            reading.left_out[_below(folder, path)] = str(error)
    if not reading.transcripts:
        raise TranscriptError(_nothing(folder, reading))
    return reading


def read_transcript(path: Path) -> Transcript:
    """Read the transcript in a file that holds exactly one.

    Raises:
        TranscriptError: the file cannot be read, does not hold exactly one conversation, or has no known shape.
    """
    try:
        items = list(_conversations(path, path.name))
        if len(items) != 1:
            raise TranscriptError(f"{len(items)} conversations; one is allowed here. Split the file.")
        if isinstance(items[0][1], TranscriptError):
            raise items[0][1]
        return _transcript(items[0][1], path.stem, path.name)[0]
    except TranscriptError as error:
        raise TranscriptError(f"{path}: {error}") from error


def _take(reading: FoundTranscripts, first: dict[str, str], place: str, item: Any, path: Path, folder: Path) -> None:
    """Add a conversation to the transcripts of `reading`, or to what was left out.

    Args:
        first: by id, the place of the first transcript with this id; updated.
        item: the parsed conversation, or the error that occurred when it was read.
    """
    number = place.rpartition(" ")[2] if place != _below(folder, path) else ""
    own = f"{path.stem}-{number}" if number else path.stem
    try:
        if isinstance(item, TranscriptError):
            raise item
        if own in first:  # two files with the same name
            own = f"{Path(_below(folder, path)).with_suffix('').as_posix()}{f'-{number}' if number else ''}"
        transcript, notes = _transcript(item, own, path.name)
        if earlier := first.get(transcript.id):
            same = _words(reading.transcripts[earlier]) == _words(transcript)
            if not same:
                reading.doubles.setdefault(transcript.id, []).append(transcript)
            which = "with the same words. Remove one of them." if same else "with OTHER words. Give one of them another id, or remove it."
            raise TranscriptError(f"the id {transcript.id!r} is also that of {earlier}, {which}")
    except TranscriptError as error:
        reading.left_out[place] = str(error)
        return
    except (TypeError, ValueError, LookupError, AttributeError, RecursionError) as odd:
        reading.left_out[place] = f"a value in it has an unexpected type ({type(odd).__name__}). docs/imports.md lists the formats that are read."
        return
    first[transcript.id] = place
    reading.transcripts[place] = transcript
    reading.notes += notes


def _conversations(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Yield each possible conversation with its place, or an error if it cannot be read."""
    ending = path.suffix.lower()
    if ending in TABLES:
        for number, row in table_rows(path):
            yield f"{name}, row {number}", row
    elif ending in LINES or _has_lines(path):
        for number, line in json_lines(path):
            yield f"{name}, line {number}", line
    else:
        for number, item in conversations_in(read_json(path)):
            yield name if number is None else f"{name}, conversation {number}", item


def _has_lines(path: Path) -> bool:
    """Return whether a file with the ending of JSON holds one value per line: its first two lines are objects or lists."""
    try:
        values = [value for _, value in islice(json_lines(path), 2)]
    except TranscriptError:
        return False
    return len(values) == 2 and all(isinstance(value, dict | list) for value in values)


def _transcript(data: Any, own_id: str, source: str) -> tuple[Transcript, Counter[str]]:
    """Turn a conversation into a transcript, and return it with the notes on what was left out.

    Args:
        own_id: the id of a conversation that names none.
        source: name of the file.

    Raises:
        TranscriptError: the conversation has no known shape, or a value that cannot be stored.
    """
    head: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    talk, persona = read_talk(data), head.get("persona")
    provenance = _provenance(source, head)
    if talk.notes:
        provenance["reading"] = dict(sorted(talk.notes.items()))
    persona, name = persona if isinstance(persona, dict) else None, _id(head, own_id)
    refuse_unsafe([name, persona, provenance, talk.pairs, talk.opening, talk.system])
    _refuse_huge([*(side for pair in talk.pairs for side in pair), talk.opening or "", talk.system or ""], len(talk.pairs), persona)
    # the form that is trained and played: Unicode NFC, and without the assistant's thinking
    pairs = [(normalize("NFC", user), normalize("NFC", without_thinking(assistant)[0])) for user, assistant in talk.pairs]
    exchanges = [Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(pairs, 1)]
    transcript = Transcript(id=name, persona=persona, exchanges=exchanges, opening=talk.opening, system=talk.system, provenance=provenance)
    return transcript, talk.notes


def _refuse_huge(texts: list[str], exchanges: int, persona: Any) -> None:
    longest, persona_size = max(map(len, texts)), len(json.dumps(persona)) if persona else 0
    for what, size, allowed in (
        ("a message with {:,} characters", longest, MAX_TEXT),
        ("{:,} exchanges", exchanges, MAX_EXCHANGES),
        ("a persona of {:,} characters", persona_size, MAX_PERSONA),
    ):
        if size > allowed:
            raise TranscriptError(f"{what.format(size)}; {allowed:,} are allowed. Shorten or split it.")


def _id(head: Mapping[str, Any], own: str) -> str:
    """Return the id that a conversation names, or else the given one. The id seeds the random slices of the transcript."""
    named = (head.get(name) for name in ("transcript_id", "id", "conversation_id", "uuid"))
    chosen = next((str(name).strip() for name in named if isinstance(name, str | int) and not isinstance(name, bool) and str(name).strip()), own)
    chosen = normalize("NFC", chosen)
    if len(chosen) > MAX_ID or not chosen.isprintable():
        raise TranscriptError(f"the id {chosen!r:.60} is longer than {MAX_ID} characters or has control characters. Give it another id.")
    return chosen


def _provenance(source: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return facts about a file; what the file claims about how it was made is separate, under `claimed`."""
    persona, own = head.get("persona"), head.get("provenance")
    claimed = {name: head[name] for name in ("end_reason", "target_exchanges", "created_at") if head.get(name) is not None}
    claimed |= own if isinstance(own, dict) else {}
    facts = {"source": source, "seed": _seed(persona.get("seed")) if isinstance(persona, dict) else None}
    return facts | ({"claimed": claimed} if claimed else {})


def _seed(value: Any) -> int | None:
    """Return a seed as a number, also if it is written as text, since seeds of the evaluation must be recognised; None if it is no whole number."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        return int(number) if abs(number) < 2**53 and number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _words(transcript: Transcript) -> Any:
    return transcript.opening, transcript.exchanges


def _is_copy(place: str) -> bool:
    """Return whether the name of a file or of one of its folders marks it as a copy."""
    return COPY.search(place) is not None


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else path.name


def _nothing(folder: Path, reading: FoundTranscripts) -> str:
    other = f" It has files of types that are not read: {_counted(reading.unread)}." if reading.unread else ""
    types = "" if reading.files and not reading.unread else f" Types that are read: {', '.join(READ)}."
    reason = next((f" The first: {place}: {reason}" for place, reason in reading.left_out.items()), "")
    return f"{folder} has no readable transcript. Files read: {reading.files}; items left out: {len(reading.left_out)}.{other}{types}{reason}"


def _counted(unread: Counter[str]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in unread.most_common(8))
