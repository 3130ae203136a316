"""Functions and constants shared by the adapters of the providers' batches."""

import json
from collections.abc import Iterator
from typing import Any

from blocks.http import BYTES_PER_TOKEN, quoted
from core.errors import MalformedError
from core.llm.chat import ChatRequest

MAX_RESULT_BYTES = 256_000_000
"""Maximum bytes of a batch's results. The results of the largest batch that is submitted take a tenth of this."""

ABOUT_A_BATCH = ChatRequest("judge", "", (), max_tokens=MAX_RESULT_BYTES // BYTES_PER_TOKEN, seed=0, item="a batch")
"""Placeholder for the request in calls that concern a batch."""

NAME_IN_METADATA = "understudy"


def read_lines(content: bytes, reference: str) -> list[dict[str, Any]]:
    """Return the objects of a file of results; for an invalid line an empty object, so that it costs only its own request.

    Raises:
        MalformedError: the last line is incomplete, so the file was received only in part; or no line is a result, as in a page of a gateway.
    """
    read = list(_objects(content, reference))
    if read and not any("custom_id" in line for line in read):
        raise MalformedError(f"{reference}: what was received instead of the results of a batch has none.")
    return read


def _objects(content: bytes, reference: str) -> Iterator[dict[str, Any]]:
    for line in content.splitlines(keepends=True):
        if not line.strip():
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError) as broken:
            if not line.endswith(b"\n"):
                raise MalformedError(f"{reference}: the results of a batch are incomplete.") from broken
            value = None
        yield value if isinstance(value, dict) else {}


def words_of(error: Any) -> str:
    """Return the provider's message for an error within a batch."""
    detail = error.get("error", error) if isinstance(error, dict) else error
    return str((detail.get("message") or detail.get("code") or detail.get("type")) if isinstance(detail, dict) else detail or "") or "no reason given"


def unknown_result(line: Any) -> MalformedError:
    """Return the error for a result of an unknown form. It does not say that the request failed, so the request may have been billed."""
    return MalformedError(f"unknown form of result: {quoted(str(line))[:60]}")
