"""Addresses of servers, as settings, blocks and environment variables give them."""

import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator


def checked_address(text: str) -> str:
    """Return an address that can be asked.

    Raises:
        ValueError: it is none; a user name and a password, which an address would carry wherever it is shown, are not repeated.
    """
    allowed = "Allowed: http:// or https:// with a host, as in http://127.0.0.1:8080/v1"
    if not text.isascii() or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError(f"an address has spaces or signs that no address has. {allowed}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as broken:
        raise ValueError(f"an address cannot be read: {str(broken)[:80]}. {allowed}") from broken
    if "@" in parts.netloc:
        raise ValueError("an address has a user name or a password in it. Keys belong in an environment variable or a saved block")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(f"{text[:80]!r} is no address. {allowed}")
    return text


Address = Annotated[str, AfterValidator(lambda text: checked_address(text) if text else text)]
"""Of a server; empty where the usual one is meant."""
