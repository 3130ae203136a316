"""Addresses of servers, as settings, blocks and environment variables give them."""

import os
import re
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator

from core.errors import SettingsError


def checked_address(text: str) -> str:
    """Return an address that can be asked.

    Raises:
        ValueError: it is none; a user name and a password, which an address would carry wherever it is shown, are not repeated.
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
"""Which variable names the address of the studio, and where it is without one."""


def studio_address(path: str = "/") -> str:
    """Return the address of a page of the studio.

    Raises:
        SettingsError: the environment names none that can be opened.
    """
    given = os.environ.get(STUDIO_VARIABLE) or STUDIO
    try:
        return checked_address(given).rstrip("/") + path
    except ValueError as wrong:
        raise SettingsError(f"{STUDIO_VARIABLE}: {wrong}.") from wrong


Address = Annotated[str, AfterValidator(lambda text: checked_address(text) if text else text)]
"""Of a server; empty where the usual one is meant."""


def given_address(address: str, variable: str) -> str | None:
    """Return a block's address, or that of the environment variable that its SDK reads; none where the usual one is meant.

    Raises:
        SettingsError: the variable's is none, or has a user name or a password in it.
    """
    if address or not (address := os.environ.get(variable, "")):
        return address or None
    try:
        return checked_address(address)
    except ValueError as wrong:
        raise SettingsError(f"The environment variable {variable}: {wrong}.") from wrong
