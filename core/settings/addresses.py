"""Addresses of servers in settings, blocks and environment variables."""

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from core.errors import SettingsError


def checked_address(text: str) -> str:
    """Return an address unchanged if it is valid.

    Raises:
        ValueError: it is not valid, or contains a user name or a password; the message never repeats these.
    """
    allowed = "Allowed: http:// or https:// with a host, as in http://127.0.0.1:8080/v1"
    if not text.isascii() or re.search(r"[\s\x00-\x1f\x7f\\]", text):
        raise ValueError(f"an address contains spaces or characters that addresses cannot have. {allowed}")
    try:
        parts = urlsplit(text)
        host, port = parts.hostname, parts.port
    except ValueError as broken:
        raise ValueError(f"an address cannot be read: {str(broken)[:80]}. {allowed}") from broken
    if "@" in parts.netloc:
        raise ValueError("an address has a user name or a password in it. Keys belong in an environment variable or a saved block")
    if parts.query or parts.fragment:
        raise ValueError("an address has a ? or a # in it, and paths are added to its end. Leave out what follows")
    if parts.scheme not in ("http", "https") or not host or port == 0:
        raise ValueError(f"{text[:80]!r} is not an address. {allowed}")
    return text


STUDIO_VARIABLE, STUDIO = "UNDERSTUDY_STUDIO", "http://127.0.0.1:4210"
"""Environment variable with the address of the studio, and the default address."""


def studio_address(path: str = "/") -> str:
    """Return the address of a page of the studio.

    Raises:
        SettingsError: the environment variable has no valid address.
    """
    try:
        return checked_address(os.environ.get(STUDIO_VARIABLE) or STUDIO).rstrip("/") + path
    except ValueError as wrong:
        raise SettingsError(f"{STUDIO_VARIABLE}: {wrong}.") from wrong


Address = Annotated[str, AfterValidator(lambda text: checked_address(text) if text else text)]
"""Address of a server; empty for the provider's default."""


def given_address(address: str, variable: str) -> str | None:
    """Return a block's address, or that of the environment variable that its SDK reads; None for the provider's default.

    Args:
        address: the block's address; empty if it has none.
        variable: name of the environment variable.

    Raises:
        SettingsError: the variable has no valid address, or one with a user name or a password.
    """
    if address or not (address := os.environ.get(variable, "")):
        return address or None
    try:
        return checked_address(address)
    except ValueError as wrong:
        raise SettingsError(f"The environment variable {variable}: {wrong}.") from wrong
