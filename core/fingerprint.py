"""Content hashes: the same data gives the same hash in every process and on every machine."""

import hashlib
import json
from typing import Any

from pydantic_core import to_jsonable_python

LENGTH = 12
"""Hex digits of a fingerprint: 48 bits, so a collision is unlikely below some millions of values."""


def fingerprint(value: Any) -> str:
    """Return a short hash of plain data, pydantic models and paths, independent of key order.

    Args:
        value: anything that pydantic can turn into JSON. Sets are refused, because their order differs between processes.

    Returns:
        `LENGTH` hex digits of SHA-256.
    """
    if isinstance(value, (set, frozenset)):
        raise TypeError("A set has no stable order: sort it into a list before taking its fingerprint.")
    text = json.dumps(to_jsonable_python(value), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:LENGTH]


def seed_of(*parts: Any) -> int:
    """Return a 32-bit seed derived from the parts, so that each draw has its own random stream."""
    return int(fingerprint(list(parts))[:8], 16)
