"""Keys are refused where they would be stored and shown: in parameters, settings, names and options."""

from collections.abc import Iterator, Mapping
from typing import Any

from core.errors import SettingsError
from core.redaction import holds_key


def refuse_keys(values: Mapping[str, Any]) -> None:
    """Refuse values that hold a key, or an address with a password, however deep; parameters are stored and shown.

    Raises:
        SettingsError: names the place and not the key.
    """
    if not holds_key("\n".join(_texts(values))):  # one look at all is a hundred times quicker than one at each
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
