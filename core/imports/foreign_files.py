"""Reads untrusted files in bounded memory. A fault in one file, line or value never affects the others."""

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

MAX_FILE_BYTES = 64 * 2**20
"""Largest size in bytes of a JSON file, which is read in one piece: a hundred times that of a conversation of 100 exchanges."""
MAX_LINE = 16 * 2**20
"""Largest number of characters of a line in a JSON Lines file. The file is read line by line and may have any size."""
MAX_DEPTH, MAX_DIGITS = 32, 300
"""Deepest nesting of a value, and largest number of digits of a number."""

DESCRIPTIONS = frozenset({"README", "LICENSE"})
"""Names of files that describe a folder and hold no conversation."""

MAX_SHOWN = 20
"""Number of lines about left-out items that a log shows; files list them all."""


def files_below(folder: Path, endings: tuple[str, ...]) -> tuple[list[Path], dict[Path, str], Counter[str]]:
    """List the files below a folder. Links to folders are not followed. Hidden files and folders, and folders such as `__pycache__`, are skipped.

    Returns:
        The files with one of the endings, sorted by path; by path, the reason why a folder was not read; and the numbers of other files by ending, with the
        hidden ones under "hidden", and without those that describe the folder.
    """
    matches, closed, others = list[Path](), dict[Path, str](), Counter[str]()

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
                matches.append(path)
            elif not name.startswith(".") and path.stem.upper() not in DESCRIPTIONS:
                others[path.suffix.lower() or "without an ending"] += 1
    return sorted(matches), closed, +others


@contextmanager
def opened(path: Path, largest: int | None = None) -> Generator[IO[bytes]]:
    """Open a regular file. A pipe, a device or a socket is refused at once, since reading it could block.

    Args:
        largest: largest size in bytes; None if any size is allowed.

    Raises:
        TranscriptError: the file is not regular, is too large, or cannot be read.
    """
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as file:
            state = os.fstat(handle)
            if not stat.S_ISREG(state.st_mode):
                raise TranscriptError("not a regular file (a pipe, a device or a socket). Remove it.")
            if largest is not None and state.st_size > largest:
                raise TranscriptError(
                    f"{state.st_size / 2**20:,.0f} MiB; a file of this kind may have {largest / 2**20:,.0f}. Split it, "
                    "or write one conversation per line into a file that ends in .jsonl (jq -c '.[]' does this for a list)."
                )
            yield file
    except OSError as error:
        raise TranscriptError(f"cannot be read ({error.strerror or error}). Correct or remove it.") from error


def read_text(path: Path) -> str:
    """Return a file's text, in UTF-8, UTF-16 or UTF-32, with or without a byte order mark.

    Raises:
        TranscriptError: the file cannot be read, is too large, or is not text.
    """
    with opened(path, MAX_FILE_BYTES) as file:
        data = file.read()
    try:
        return data.decode(json.detect_encoding(data))
    except UnicodeDecodeError as broken:
        raise TranscriptError(f"not text in UTF-8 or UTF-16 ({broken.reason} at byte {broken.start:,}). Save it as UTF-8.") from broken


def read_json(path: Path) -> Any:
    """Return the value in a JSON file.

    Raises:
        TranscriptError: the file cannot be read or is not JSON.
    """
    return parse(read_text(path))


def parse(text: str) -> Any:
    """Return the value of a JSON text; an integer with too many digits becomes infinite.

    Raises:
        TranscriptError: the text is not JSON, has a key twice, or is nested too deeply.
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
    """Yield each line of a JSON Lines file as its number and its value, or a `TranscriptError` if the line cannot be read.

    Only a line feed ends a line, since the other line separators of Unicode occur within texts.

    Raises:
        TranscriptError: the file cannot be read.
    """
    with opened(path) as file:
        encoding = json.detect_encoding(file.read(4))
        file.seek(0)
        lines, number = TextIOWrapper(file, encoding=encoding, errors="surrogateescape" if encoding.startswith("utf-8") else "replace", newline="\n"), 0
        while line := lines.readline(MAX_LINE):
            number += 1
            complete = line.endswith("\n") or len(line) < MAX_LINE
            while not line.endswith("\n") and (more := lines.readline(MAX_LINE)):
                line, complete = more, False
            if not complete:
                yield number, TranscriptError(f"a line of more than {MAX_LINE / 2**20:.0f} MiB. Remove it.")
            elif line.strip(" \t\r\n\ufeff"):
                try:
                    yield number, parse(line.strip().removeprefix("\ufeff"))  # byte order marks of concatenated files
                except TranscriptError as broken:
                    yield number, broken


def shown(lines: list[str]) -> list[str]:
    """Return the first lines, and a line with the number of the others."""
    return lines[:MAX_SHOWN] + ([f"And {len(lines) - MAX_SHOWN:,} more."] if len(lines) > MAX_SHOWN else [])


def refuse_unsafe(value: Any) -> None:
    """Check that plain data can be stored and sent as JSON everywhere.

    Raises:
        TranscriptError: the data contain half of a surrogate pair, a NUL, an infinite or overlong number, or too deep a nesting.
    """
    remaining = [(value, 0)]
    while remaining:
        item, depth = remaining.pop()
        if depth > MAX_DEPTH:
            raise TranscriptError(f"nested more than {MAX_DEPTH} levels deep. Remove what is not needed.")
        if isinstance(item, dict):
            remaining += [(part, depth + 1) for pair in item.items() for part in pair]
        elif isinstance(item, list | tuple):
            remaining += [(part, depth + 1) for part in item]
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
    result = dict(pairs)
    if len(result) < len(pairs):
        repeated = next(key for key, count in Counter(key for key, _ in pairs).items() if count > 1)
        raise TranscriptError(f"the key {repeated!r:.40} occurs twice. Remove the one that is not meant.")
    return result


def _integer(digits: str) -> int | float:
    return int(digits) if len(digits) <= MAX_DIGITS else math.inf
