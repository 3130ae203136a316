"""Functions and constants shared by the adapters of the providers' batches."""

import json
from collections.abc import Iterator
from typing import Any

from blocks.http import BYTES_PER_TOKEN
from core.errors import MalformedError
from core.llm.chat import ChatRequest

MAX_RESULT_BYTES = 256_000_000
"""Maximum bytes of a batch's results. The results of the largest batch that is submitted take a tenth of this."""

ABOUT_A_BATCH = ChatRequest("judge", "", (), max_tokens=MAX_RESULT_BYTES // BYTES_PER_TOKEN, seed=0, item="a batch")
"""Placeholder for the request in calls that concern a batch."""

NAME_IN_METADATA = "understudy"


def lines(content: bytes, reference: str) -> Iterator[dict[str, Any]]:
    """Yield the objects of a JSON Lines file; for an invalid line an empty object, so that it costs only its own request.

    Raises:
        MalformedError: the last line is incomplete, so the file was received only in part.
    """
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
    return str(detail.get("message") or detail.get("code") or detail.get("type") or "no reason given") if isinstance(detail, dict) else "no reason given"
