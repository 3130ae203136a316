"""Which files belong to a result and how large they are, so that one of which a file was removed or cut is not taken for a whole one."""

from collections.abc import Iterable, Mapping
from typing import Any

from core.storage.store import Store


def file_facts(store: Store, folder: str, names: Iterable[str]) -> dict[str, dict[str, int]]:
    """Return the sizes of files, as a result lists them."""
    return {name: {"bytes": size} for name in names if (size := store.size(f"{folder}/{name}")) is not None}


def damaged_files(store: Store, folder: str, listed: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return which of the files that a result lists do not exist or have another size.

    Args:
        listed: by name, among others `bytes`.
    """
    return [name for name, facts in listed.items() if store.size(f"{folder}/{name}") != facts["bytes"]]


def is_whole(store: Store, folder: str, finished: str, wanted: Iterable[str] | None = None) -> bool:
    """Say whether a result has its last file and those that this lists under `files`.

    Args:
        finished: name of a JSON file, which is written last.
        wanted: names of the files that must exist; by default all that are listed.
    """
    if not store.exists(f"{folder}/{finished}"):
        return False
    listed = store.load_json(f"{folder}/{finished}").get("files", {})
    names = listed if wanted is None else wanted
    there = {name: store.size(f"{folder}/{name}") for name in names}
    return all(size is not None and size == listed.get(name, {"bytes": size})["bytes"] for name, size in there.items())
