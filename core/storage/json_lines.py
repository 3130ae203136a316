r"""Files of JSON lines: a value a line, and a line ends at `\n` alone.

JSON escapes that character in texts and leaves others at which `str.splitlines` and spreadsheets begin a line (U+2028, U+2029, U+0085).
"""

import json
from typing import Any


def split_lines(text: str) -> list[str]:
    r"""Return the lines of a text without their ends; what stands after the last `\n` is one, if it is anything."""
    lines = text.split("\n")
    return lines if lines[-1] else lines[:-1]


def read_objects(data: bytes) -> list[dict[str, Any]]:
    """Return the JSON objects of a file of lines; what else stands in it, such as a line that a kill cut short, is left out."""
    found = []
    for line in filter(None, data.split(b"\n")):  # what an empty one raises costs more than the rest
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict):
            found.append(value)
    return found
