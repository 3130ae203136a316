"""Reading what a page sends: forms, JSON and numbers in addresses, each with a maximum length."""

import json
from typing import Any
from urllib.parse import parse_qsl

from starlette.convertors import IntegerConvertor, register_url_convertor
from starlette.exceptions import HTTPException
from starlette.requests import Request

from core.errors import ReviewError
from core.imports.foreign_files import refuse_unsafe

MAX_BYTES = 200_000
"""Maximum length of a form in bytes; a message, a reason or a note is far shorter."""
DIGITS = 9
"""Maximum number of digits of a number; Python refuses to parse thousands of digits."""


class Number(IntegerConvertor):
    """The route parameter `{name:number}`. An address with a longer number is not found."""

    regex = f"[0-9]{{1,{DIGITS}}}"


register_url_convertor("number", Number())


async def body_of(request: Request, limit: int = MAX_BYTES) -> bytes:
    """Return the body of a request.

    Raises:
        HTTPException: the body is longer than `limit` bytes.
    """
    read = b""
    async for data in request.stream():
        read += data
        if len(read) > limit:
            raise HTTPException(413, f"The input is longer than {limit:,} bytes. Shorten it.")
    return read


async def form_of(request: Request) -> dict[str, str]:
    """Return the fields of a form, or of a JSON object whose values are texts.

    Raises:
        ReviewError: the body is neither.
        TranscriptError: a value cannot be stored as text, because it contains half of a character or a NUL.
    """
    data = await body_of(request)
    try:
        text = data.decode()
        is_json = "json" in request.headers.get("content-type", "")
        fields: Any = json.loads(text) if is_json else dict(parse_qsl(text, keep_blank_values=True, max_num_fields=100))
    except (ValueError, RecursionError) as broken:
        raise ReviewError("The request is not a form. Reload the page and try again.") from broken
    if not isinstance(fields, dict) or not all(isinstance(value, str) for value in fields.values()):
        raise ReviewError("The request is not a form. Reload the page and try again.")
    refuse_unsafe(fields)
    return fields


def whole_number(text: str, minimum: int, maximum: int) -> int:
    """Return the number that a form's field contains.

    Raises:
        ReviewError: the text is not a whole number from `minimum` to `maximum`.
    """
    if len(text) > DIGITS or not text.strip().isdecimal() or not minimum <= int(text) <= maximum:
        raise ReviewError(f"{text[:20]!r} was given. Allowed: a whole number from {minimum} to {maximum}.")
    return int(text)
