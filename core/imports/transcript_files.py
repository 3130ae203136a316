"""Reading transcripts that others made, in the shapes that they come in. The files themselves are left as they are."""

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
from core.imports.conversation_shapes import divided, read_talk
from core.imports.foreign_files import files_below, json_lines, read_json, refuse_unsafe, shown
from core.imports.table_files import TABLES, is_beside_table, table_rows
from core.records import Exchange, Transcript
from core.thinking import without_thinking

LINES = (".jsonl", ".ndjson")
READ = (".json", *LINES, *TABLES)
"""Endings of the files that are read."""
LONGEST_ID = 200
LONGEST_TEXT, MOST_EXCHANGES, LARGEST_PERSONA = 200_000, 2_000, 100_000
"""Characters of a message, exchanges of a conversation, and characters of a persona as JSON. A message of 200,000 characters is longer than what most
models hold, and a judge reads a whole conversation."""

COPY = re.compile(r"(?<![a-z])(backups?|bak|copy|old)(?![a-z])", re.IGNORECASE)
"""Words in the name of a file or folder that say that it is a copy of another."""


@dataclass
class FoundTranscripts:
    """What a folder holds.

    Args:
        transcripts: by where they stand: the file's path below the folder, and the line, row or number in it where it holds several.
        left_out: by where it stands, why something is no transcript or is not taken.
        notes: what was joined, dropped or left out within the transcripts, with how often.
        unread: files of types that are not read, by their ending.
        doubles: other transcripts that have the id of one of `transcripts`, and other words.
        files: how many files were read.
    """

    transcripts: dict[str, Transcript] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)
    notes: Counter[str] = field(default_factory=Counter)
    unread: Counter[str] = field(default_factory=Counter)
    doubles: dict[str, list[Transcript]] = field(default_factory=dict)
    files: int = 0

    def notices(self) -> list[str]:
        """Return what a person must know of the reading: what was left out, and what was changed on the way."""
        lines = shown([f"Left out: {place}: {reason}" for place, reason in self.left_out.items()])
        if self.notes:
            lines.append(f"Within the transcripts: {', '.join(f'{count} {note}' for note, count in self.notes.most_common())}.")
        if self.unread:
            lines.append(f"Files of types that are not read: {_counted(self.unread)}. Read are {', '.join(READ)}.")
        return lines


def find_transcripts(folder: Path) -> FoundTranscripts:
    """Read every conversation of every file below a folder (or of one file), in the order of their paths, those that are called copies last.

    What cannot be read, and a conversation whose id an earlier one has, is left out with the reason; it does not stop the others.

    Raises:
        TranscriptError: there is no such folder, or it holds no readable transcript.
    """
    if not folder.is_dir() and not folder.is_file():
        raise TranscriptError(f"{folder} is not a folder. Give the folder that holds the transcripts ({', '.join(READ)}).")
    paths, closed, unread = files_below(folder, READ) if folder.is_dir() else ([folder], {}, Counter())
    paths.sort(key=lambda path: _is_copy(_below(folder, path)))  # of two with one id the original counts
    reading = FoundTranscripts(left_out={_below(folder, path): reason for path, reason in closed.items()}, unread=unread)
    first: dict[str, str] = {}
    for path in paths:
        if is_beside_table(path):
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
    """Read the one transcript of a file.

    Raises:
        TranscriptError: it cannot be read, holds none or several, or has no known shape.
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
    """Add one conversation to what was found."""
    number = place.rpartition(" ")[2] if place != _below(folder, path) else ""
    own = f"{path.stem}-{number}" if number else path.stem
    try:
        if isinstance(item, TranscriptError):
            raise item
        if own in first:  # two files of one name
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
        reading.left_out[place] = (
            f"a part of it is of a kind that is not expected there ({type(odd).__name__}). docs/imports.md lists the formats that are read."
        )
        return
    first[transcript.id] = place
    reading.transcripts[place] = transcript
    reading.notes += notes


def _conversations(path: Path, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what may be a conversation with its place, or the error that says why it cannot be read."""
    ending = path.suffix.lower()
    if ending in TABLES:
        for number, row in table_rows(path):
            yield f"{name}, row {number}", row
    elif ending in LINES or _has_lines(path):
        for number, line in json_lines(path):
            yield f"{name}, line {number}", line
    else:
        for number, item in divided(read_json(path)):
            yield name if number is None else f"{name}, conversation {number}", item


def _has_lines(path: Path) -> bool:
    """Say whether a file that is called JSON holds a value a line: its first two lines are objects or lists."""
    try:
        values = [value for _, value in islice(json_lines(path), 2)]
    except TranscriptError:
        return False
    return len(values) == 2 and all(isinstance(value, dict | list) for value in values)


def _transcript(data: Any, own_id: str, source: str) -> tuple[Transcript, Counter[str]]:
    """Turn a conversation into a transcript; return it and what was left out of it.

    Args:
        own_id: for one that names none.

    Raises:
        TranscriptError: it has no known shape, or something that cannot be stored.
    """
    head: Mapping[str, Any] = data if isinstance(data, Mapping) else {}
    talk, persona = read_talk(data), head.get("persona")
    provenance = _provenance(source, head)
    if talk.notes:
        provenance["reading"] = dict(sorted(talk.notes.items()))
    persona, name = persona if isinstance(persona, dict) else None, _id(head, own_id)
    refuse_unsafe([name, persona, provenance, talk.pairs, talk.opening, talk.system])
    _refuse_huge([*(side for pair in talk.pairs for side in pair), talk.opening or "", talk.system or ""], len(talk.pairs), persona)
    # as they are trained and played: composed, and without what the assistant thought
    pairs = [(normalize("NFC", user), normalize("NFC", without_thinking(assistant)[0])) for user, assistant in talk.pairs]
    exchanges = [Exchange(exchange_number=number, user=user, assistant=assistant) for number, (user, assistant) in enumerate(pairs, 1)]
    made = Transcript(id=name, persona=persona, exchanges=exchanges, opening=talk.opening, system=talk.system, provenance=provenance)
    return made, talk.notes


def _refuse_huge(texts: list[str], exchanges: int, persona: Any) -> None:
    longest, size = max(map(len, texts)), len(json.dumps(persona)) if persona else 0
    for what, found, allowed in (
        ("a message with {:,} characters", longest, LONGEST_TEXT),
        ("{:,} exchanges", exchanges, MOST_EXCHANGES),
        ("a persona of {:,} characters", size, LARGEST_PERSONA),
    ):
        if found > allowed:
            raise TranscriptError(f"{what.format(found)}; {allowed:,} are allowed. Shorten or split it.")


def _id(head: Mapping[str, Any], own: str) -> str:
    """Return the id that a conversation names, or its own; slices are drawn by it."""
    named = (head.get(name) for name in ("transcript_id", "id", "conversation_id", "uuid"))
    chosen = next((str(name).strip() for name in named if isinstance(name, str | int) and not isinstance(name, bool) and str(name).strip()), own)
    chosen = normalize("NFC", chosen)
    if len(chosen) > LONGEST_ID or not chosen.isprintable():
        raise TranscriptError(f"the id {chosen!r:.60} is longer than {LONGEST_ID} characters or has control characters. Give it another id.")
    return chosen


def _provenance(source: str, head: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is known of a file, and apart from it, under `claimed`, what the file says of how it was made."""
    persona, own = head.get("persona"), head.get("provenance")
    claimed = {name: head[name] for name in ("end_reason", "target_exchanges", "created_at") if head.get(name) is not None}
    claimed |= own if isinstance(own, dict) else {}
    known = {"source": source, "seed": _seed(persona.get("seed")) if isinstance(persona, dict) else None}
    return known | ({"claimed": claimed} if claimed else {})


def _seed(value: Any) -> int | None:
    """Return a seed as the number that it means, however it is written: one that is kept for the evaluation must be known."""
    try:
        number = float(value) if isinstance(value, str | int | float) and not isinstance(value, bool) else math.nan
        return int(number) if abs(number) < 2**53 and number == int(number) else None
    except (ValueError, OverflowError):
        return None


def _words(transcript: Transcript) -> Any:
    return transcript.opening, transcript.exchanges


def _is_copy(place: str) -> bool:
    """Say whether a file's name, or a folder's that it is in, calls it a copy."""
    return COPY.search(place) is not None


def _below(folder: Path, path: Path) -> str:
    return path.relative_to(folder).as_posix() if path != folder else path.name


def _nothing(folder: Path, reading: FoundTranscripts) -> str:
    other = f" It has files of types that are not read: {_counted(reading.unread)}." if reading.unread else ""
    types = "" if reading.files and not reading.unread else f" Read are {', '.join(READ)}."
    reason = next((f" The first: {place}: {reason}" for place, reason in reading.left_out.items()), "")
    return f"{folder} has no readable transcript. Files read: {reading.files}; items left out: {len(reading.left_out)}.{other}{types}{reason}"


def _counted(unread: Counter[str]) -> str:
    return ", ".join(f"{count} {ending}" for ending, count in unread.most_common(8))
