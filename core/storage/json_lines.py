r"""Files of JSON lines: one value per line, and only `\n` ends a line.

JSON escapes that character in strings, but not others that `str.splitlines` and spreadsheets treat as line breaks (U+2028, U+2029, U+0085).
"""

import json
from typing import Any


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a text without their line breaks, including an incomplete line after the last `\n`."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def read_objects(data: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of a file of lines; anything else, such as a line that was truncated when its process was killed, is skipped."""
    objects = []
    for line in filter(None, data.split(b"\n")):  # skips empty lines, because the exception that one raises costs more than all the rest
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            objects.append(value)
    return objects
