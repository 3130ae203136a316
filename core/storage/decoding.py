"""What a file's bytes mean: text, a record or a JSON object. Each error names the file and does not quote it, because it may be private."""

import json
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

from core.errors import DamagedError

Kind = TypeVar("Kind", bound=BaseModel)


class StoredObject(dict[str, Any]):
    """A JSON object from a file. A missing key raises an error that names the file, which someone may have edited.

    Args:
        place: path of the file.
        values: the object's contents.
    """

    def __init__(self, place: str, values: Mapping[str, Any]) -> None:
        """Create the object from the file's contents."""
        super().__init__(values)
        self._place = place

    def __missing__(self, key: str) -> Any:
        """Report a missing key.

        Raises:
            DamagedError: always.
        """
        raise DamagedError(f"{self._place} has no {key!r}, so it is damaged. Remove it, or the result that it is part of, to have it made again.")


def text_of(place: str, content: bytes) -> str:
    """Return the text of a file.

    Args:
        place: path of the file.

    Raises:
        DamagedError: it is not text in UTF-8.
    """
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        what = f"{place} is not text in UTF-8, so it is damaged or the wrong file"
        raise DamagedError(f"{what}. Name another, or remove it.") from error


def record_of(place: str, content: bytes, kind: type[Kind]) -> Kind:
    """Return the record in a file; `place` as for `text_of`.

    Raises:
        DamagedError: it is not a record of this kind.
    """
    try:
        return kind.model_validate_json(text_of(place, content))
    except ValidationError as error:
        what = f"{place} is not a valid {kind.__name__}, so it is damaged or the wrong file"
        raise DamagedError(f"{what}. Name another, or remove it to have it made again.") from error


def object_of(place: str, content: bytes) -> dict[str, Any]:
    """Return the JSON object in a file; `place` as for `text_of`. Reading a missing key of it raises `DamagedError` too.

    Raises:
        DamagedError: it is not a JSON object.
    """
    remedy = "so it is damaged. Remove it, or the result that it is part of, to have it made again."
    try:
        value = json.loads(text_of(place, content), object_hook=partial(StoredObject, place))
    except (ValueError, RecursionError) as error:
        raise DamagedError(f"{place} is not JSON, {remedy}") from error
    if not isinstance(value, dict):
        raise DamagedError(f"{place} is not a JSON object, {remedy}")
    return value
