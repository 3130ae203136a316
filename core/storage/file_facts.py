"""Lists the files of a result with their sizes, so that a result with a missing or truncated file is recognised as incomplete."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.storage.store import Store


def file_facts(store: Store, folder: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the sizes of the files that exist, in the form in which a result lists them."""
    return {name: {"bytes": size} for name in names if (size := store.size(f"{folder}/{name}")) is not None}


def damaged_files(store: Store, folder: str, listed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return the listed files of a result that do not exist or have a different size.

    Args:
        store: the data root.
        folder: folder of the result.
        listed: by name, facts that include the size as `bytes`.
    """
    return [name for name, facts in listed.items() if store.size(f"{folder}/{name}") != facts["bytes"]]


def is_complete(store: Store, folder: str, finished: str, wanted: Iterable[str] | None = None) -> bool:
    """Return whether a result is complete: its last file exists, and so do the files that it lists under `files`.

    Args:
        store: the data root.
        folder: folder of the result.
        finished: name of the JSON file that is written last.
        wanted: names of the files that must exist; None for all listed files.
    """
    if not store.exists(f"{folder}/{finished}"):
        return False
    listed = store.load_json(f"{folder}/{finished}").get("files", {})
    names = listed if wanted is None else wanted
    sizes = {name: store.size(f"{folder}/{name}") for name in names}
    return all(size is not None and size == listed.get(name, {"bytes": size})["bytes"] for name, size in sizes.items())
