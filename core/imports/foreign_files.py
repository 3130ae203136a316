"""Files that strangers made, read so that whatever is wrong with one costs that one alone, in bounded memory."""

import json
import math
import os
import stat
from collections import Counter
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import IO, Any

from core.errors import TranscriptError

LARGEST_FILE = 64 * 2**20
"""Bytes of a JSON file, which is read as a whole: a hundred times what a conversation of 100 exchanges takes."""
LARGEST_LINE = 16 * 2**20
"""Characters of a line of a JSON Lines file, which is read line by line and may be of any length."""
DEEPEST, DIGITS = 32, 300
"""How deep what is kept of a file may be nested, and how many digits a number may have."""

SHOWN = 20
"""How many items that were left out are named one by one in a log; files that list them have all."""


def files_below(folder: Path, endings: tuple[str, ...]) -> tuple[list[Path], dict[Path, str], Counter[str]]:
    """List the files below a folder in the order of their paths; links to folders are not followed, and hidden files and folders are passed over.

    Returns:
        Those with one of the endings, what cannot be looked into with the reason, and how many others there are by their ending, hidden ones under that word.
    """
    found, closed, others = list[Path](), dict[Path, str](), Counter[str]()

    def refuse(error: OSError) -> None:
        closed[Path(error.filename or folder)] = f"the folder cannot be read ({error.strerror})"

    for place, folders, names in os.walk(folder, onerror=refuse):
        here = Path(place)
        others["hidden"] += sum(name.startswith((".", "__")) for name in folders) + sum(name.startswith(".") for name in names)
        closed |= {here / name: "a link to a folder, which is not followed" for name in folders if (here / name).is_symlink()}
        folders[:] = [name for name in folders if not name.startswith((".", "__"))]
        for name in names:
            path = here / name
            if path.suffix.lower() in endings and not name.startswith("."):
                found.append(path)
            elif not name.startswith("."):
                others[path.suffix.lower() or "without an ending"] += 1
    return sorted(found), closed, +others


@contextmanager
def opened(path: Path, largest: int | None = None) -> Generator[IO[bytes]]:
    """Open a regular file; a pipe, a device or a socket is never waited for.

    Args:
        largest: bytes that it may have.

    Raises:
        TranscriptError: it is no regular file, too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            known = os.fstat(handle)
            if not stat.S_ISREG(known.st_mode):
                raise TranscriptError("not a regular file (a pipe, a device or a socket). Remove it.")
            if largest is not None and known.st_size > largest:
                raise TranscriptError(
                    f"{known.st_size / 2**20:,.0f} MiB; a file of this kind may have {largest / 2**20:,.0f}. Split it, "
                    "or write one conversation per line into a file that ends in .jsonl (jq -c '.[]' does this for a list)."
                )
            yield file
    except OSError as error:
        raise TranscriptError(f"cannot be read ({error.strerror or error}). Correct or remove it.") from error


def read_text(path: Path) -> str:
    """Return a file's text, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        TranscriptError: it cannot be read, is too large, or is no text.
    """
    with opened(path, LARGEST_FILE) as file:
        data = file.read()
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as broken:
        raise TranscriptError(f"not text in UTF-8 or UTF-16 ({broken.reason} at byte {broken.start:,}). Save it as UTF-8.") from broken


def read_json(path: Path) -> Any:
    """Return what a JSON file holds.

    Raises:
        TranscriptError: it cannot be read or is not JSON.
    """
    return parse(read_text(path))


def parse(text: str) -> Any:
    """Return what JSON says; a number of too many digits becomes infinite.

    Raises:
        TranscriptError: it is not JSON, or nested too deeply to be read.
    """
    try:
        return json.loads(text, parse_int=_integer, object_pairs_hook=_pairs)
    except json.JSONDecodeError as broken:
        cut = "; it may have been cut when it was written" if broken.msg.startswith("Unterminated") or 0 < len(text.rstrip()) <= broken.pos else ""
        where = f"line {broken.lineno}, column {broken.colno}" if broken.lineno > 1 else f"column {broken.colno} of {len(text)}"
        raise TranscriptError(f"not JSON ({broken.msg} at {where}){cut}. Correct or remove it.") from broken
    except RecursionError as deep:
        raise TranscriptError("JSON that is nested too deeply. Remove it.") from deep


def json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield the lines of a JSON Lines file with their numbers: what a line says, or the `TranscriptError` that says why it cannot be read.

    Lines end with a line feed alone: the other separators of Unicode occur within texts.

    Raises:
        TranscriptError: the file cannot be read.
    """
    with opened(path) as file:
        encoding = json.detect_encoding(file.read(4))
        file.seek(0)
        lines, number = TextIOWrapper(file, encoding=encoding, errors="surrogateescape" if encoding.startswith("utf-8") else "replace", newline="\n"), 0
        while line := lines.readline(LARGEST_LINE):
            number += 1
            whole = line.endswith("\n") or len(line) < LARGEST_LINE
            while not line.endswith("\n") and (more := lines.readline(LARGEST_LINE)):
                line, whole = more, False
            if not whole:
                yield number, TranscriptError(f"a line of more than {LARGEST_LINE / 2**20:.0f} MiB. Remove it.")
            elif line.strip(" \t\r\n\ufeff"):
                try:
                    yield number, parse(line.strip().removeprefix("\ufeff"))  # files with a mark were joined
                except TranscriptError as broken:
                    yield number, broken


def shown(lines: list[str]) -> list[str]:
    """Return the first lines, and how many more there are."""
    return lines[:SHOWN] + ([f"And {len(lines) - SHOWN:,} more."] if len(lines) > SHOWN else [])


def refuse_unsafe(value: Any) -> None:
    """Check that plain data can be stored and sent as JSON everywhere.

    Raises:
        TranscriptError: half of a surrogate pair, a NUL, an infinite or overlong number, or too deep a nesting.
    """
    left = [(value, 0)]
    while left:
        item, depth = left.pop()
        if depth > DEEPEST:
            raise TranscriptError(f"nested more than {DEEPEST} levels deep. Remove what is not needed.")
        if isinstance(item, dict):
            left += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list | tuple):
            left += [(part, depth + 1) for part in item]
        elif isinstance(item, str):
            _refuse_text(item)
        elif isinstance(item, int | float) and not (math.isfinite(item) and abs(item) < 1e300):
            raise TranscriptError("a number that is infinite, not a number, or has too many digits. Correct it.")
        elif item is not None and not isinstance(item, int | float):
            raise TranscriptError(f"a value of a kind that JSON does not have ({type(item).__name__}). Leave it out, or write it as text.")


def _refuse_text(text: str) -> None:
    if "\0" in text:
        raise TranscriptError("a NUL character in a text. Remove it.")
    try:
        text.encode()
    except UnicodeEncodeError as broken:
        raise TranscriptError(f"text that is not valid Unicode (half of a character, {text[broken.start]!a}). Correct it.") from broken


def _pairs(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        twice = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise TranscriptError(f"the key {twice!r:.40} occurs twice. Remove the one that is not meant.")
    return found


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= DIGITS else math.inf
