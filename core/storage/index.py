"""What was read of files, kept so that a file that has not changed need not be read again: twenty thousand on an object store take many minutes.

An index only saves time. Each of its facts is of one version of a file, which the folder's listing tells; an index that is missing, or is no index of ours,
counts as empty. It is written whole. Of two processes that write one at once, the last one's stands, and what only the other knew is read again.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from core.storage.file_states import FileState
from core.storage.store import Store

FOLDER = ".index"

Fact = TypeVar("Fact")


def known_facts(
    store: Store,
    name: str,
    kind: type[Fact],
    files: Mapping[str, FileState],
    read: Callable[[Sequence[str]], Mapping[str, Fact]],
    holds: Callable[[Fact], bool] = lambda _: True,
) -> dict[str, Fact]:
    """Return a fact of each file of which there is one; only what the index does not have is read.

    Args:
        name: of the index.
        kind: of its facts, as pydantic reads them.
        files: with the states that they had before they are read.
        read: returns the facts of files; it is asked again for those that it leaves out.
        holds: whether a fact of a file that has not changed is still one.
    """
    path = f"{FOLDER}/{name}.json"
    adapter: TypeAdapter[dict[str, tuple[str, Fact]]] = TypeAdapter(dict[str, tuple[str, kind]])  # ty: ignore[invalid-type-form]
    try:
        kept = adapter.validate_json(store.read_bytes(path)) if store.exists(path) else {}
    except ValidationError:
        kept = {}
    known = {file: kept[file][1] for file, state in files.items() if file in kept and kept[file][0] == state.version and holds(kept[file][1])}
    found = read([file for file in files if file not in known])
    if new := {file: (files[file].version, fact) for file, fact in found.items() if files[file].mark}:
        store.write(path, adapter.dump_json(kept | new))
    return known | dict(found)
