"""What was read of files, kept so that a file that has not changed need not be read again: twenty thousand on an object store take many minutes.

An index only saves time. Each of its facts is of one version of a file, which the folder's listing tells; an index that is missing, or is no index of ours,
counts as empty. It is written whole, without the files that are gone. Of two processes that write one at once, the last one's stands, and what only the
other knew is read again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from core.storage.file_states import FileState
from core.storage.store import Store

FOLDER = ".index"

Fact = TypeVar("Fact")
Kept = TypeVar("Kept")


def known_facts(
    store: Store,
    name: str,
    kind: type[Fact],
    files: Mapping[str, FileState],
    read: Callable[[Sequence[str]], Mapping[str, Fact]],
    holds: Callable[[Fact], bool] = lambda _: True,
    listed: Collection[str] = (),
) -> dict[str, Fact]:
    """Return a fact of each file of which there is one; only what the index does not have is read.

    Args:
        name: of the index.
        kind: of its facts, as pydantic reads them.
        files: with the states that they had before they are read.
        read: returns the facts of files; it is asked again for those that it leaves out.
        holds: whether a fact of a file that has not changed is still one.
        listed: all files of their folders; by default these are all.
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
        store.write(path, adapter.dump_json(_of_files_that_exist(store, kept, set(listed or files)) | new))
    return known | dict(found)


def _of_files_that_exist(store: Store, kept: Mapping[str, Kept], listed: set[str]) -> dict[str, Kept]:
    """Return what is kept of files that are there, as far as their folders were listed.

    Another process may have made a file, and written it into the index, since then: what a list does not show is looked for in a later one.
    """
    folders = {_folder_of(file) for file in listed} & {_folder_of(file) for file in kept.keys() - listed}
    there = listed.union(*(store.names(folder) for folder in folders))
    return {file: what for file, what in kept.items() if file in there or _folder_of(file) not in folders}


def _folder_of(file: str) -> str:
    return file.rpartition("/")[0]
