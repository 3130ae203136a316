"""What a page sends: forms, JSON and numbers in addresses, read whole and never more than a bound."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request

from core.errors import ReviewError
from core.imports.foreign_files import refuse_unsafe

MOST_BYTES = 200_000
"""Of a form; a message, a reason or a note is far shorter."""
DIGITS = 9
"""Of a number; Python refuses to read one of thousands."""


class Number(IntegerConvertor):
    """In a route, `{name:number}`: an address with a longer number leads nowhere."""

    regex = f"[0-9]{{1,{DIGITS}}}"


register_url_convertor("number", Number())


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
        TranscriptError: a value is no text that can be stored: half of a character, or a NUL.
    """
    data = await body_of(request)
    try:
        text = data.decode()
        is_json = "json" in request.headers.get("content-type", "")
        found: Any = json.loads(text) if is_json else dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except (ValueError, RecursionError) as broken:
        raise ReviewError("The request is not a form. Reload the page and try again.") from broken
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise ReviewError("The request is not a form. Reload the page and try again.")
    refuse_unsafe(found)
    return found


def whole_number(text: str, least: int, most: int) -> int:
    """Return a number that a form has.

    Raises:
        ReviewError: it is none, or out of its bounds.
    """
    if len(text) > DIGITS or not text.strip().isdecimal() or not least <= int(text) <= most:
        raise ReviewError(f"{text[:20]!r} was given. Allowed: a whole number from {least} to {most}.")
    return int(text)
