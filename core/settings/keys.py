"""Rejects keys where they would be stored and shown: in parameters, settings, names and options."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import SettingsError
from core.redaction import holds_key


def refuse_keys(values: Mapping[str, Any]) -> None:
    """Check that no value, at any depth, contains a key or an address with a password.

    Args:
        values: the values, by the name of their place.

    Raises:
        SettingsError: one does; the message names the place but not the key.
    """
    if not holds_key("\n".join(_texts(values))):  # one search of the joined text is a hundred times faster than one per text
        return
    for place, value in values.items():
        if isinstance(value, Mapping):
            refuse_keys({f"{place}.{name}": inner for name, inner in value.items()} | {f"{place}: a name": name for name in value if isinstance(name, str)})
        elif isinstance(value, list | tuple):
            refuse_keys({f"{place}[{number}]": inner for number, inner in enumerate(value)})
        elif isinstance(value, str) and holds_key(value):
            raise SettingsError(
                f"{place} looks like a key, or an address with a password in it. Keys belong in an environment variable or a saved block, never in a parameter "
                "or a file of settings, where they are stored and shown. Remove it, and have the provider replace it if it was sent anywhere."
            )


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for name, inner in value.items():
            yield from _texts(name)
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
