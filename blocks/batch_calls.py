"""What the adapters of the providers' batches share."""

import json
from collections.abc import Iterator
from typing import Any

from blocks.http import BYTES_PER_TOKEN
from core.errors import MalformedError
from core.llm.chat import ChatRequest

LARGEST_ANSWER = 256_000_000
"""Bytes of the results of a batch; those of the largest that is submitted are a tenth of it."""

ABOUT_A_BATCH = ChatRequest("judge", "", (), max_tokens=LARGEST_ANSWER // BYTES_PER_TOKEN, seed=0, item="a batch")
"""What stands for the request where a call is about a batch."""

NAME_IN_METADATA = "understudy"


def lines(content: bytes, reference: str) -> Iterator[dict[str, Any]]:
    """Return the objects of a file of JSON lines; of a line that is none an empty one, since it costs no more than its own request.

    Raises:
        MalformedError: the last line is cut: the file came only in part.
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
    """Return what a provider says of an error within a batch."""
    said = error.get("error", error) if isinstance(error, dict) else error
    return str(said.get("message") or said.get("code") or said.get("type") or "no reason given") if isinstance(said, dict) else "no reason given"
