"""What a page sends: forms and JSON, read whole and never more than a bound."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.exceptions import HTTPException
from starlette.requests import Request

from core.errors import ReviewError

MOST_BYTES = 200_000
"""Of a form; a message, a reason or a note is far shorter."""


async def body_of(request: Request, most: int = MOST_BYTES) -> bytes:
    """Return what was sent.

    Raises:
        HTTPException: it is longer than `most` bytes.
    """
    read = b""
    async for data in request.stream():
        read += data
        if len(read) > most:
            raise HTTPException(413, f"What was sent is longer than {most:,} bytes. Shorten it.")
    return read


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, or of a JSON object whose values are texts.

    Raises:
        ReviewError: it is neither.
    """
    data = await body_of(request)
    try:
        text = data.decode()
        if "json" not in request.headers.get("content-type", ""):
            return dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
        found: Any = json.loads(text)
    except (ValueError, RecursionError) as broken:
        raise ReviewError("What was sent is no form. Reload the page and try again.") from broken
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ReviewError("What was sent is no form. Reload the page and try again.")
    return found


def whole_number(text: str, least: int, most: int) -> int:
    """Return a number that a form has.

    Raises:
        ReviewError: it is none, or out of its bounds.
    """
    if not text.strip().isdecimal() or not least <= int(text) <= most:
        raise ReviewError(f"{text[:20]!r} was given. Allowed: a whole number from {least} to {most}.")
    return int(text)
