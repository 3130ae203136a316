"""An index of facts read from files, so that unchanged files are not read again: reading twenty thousand from an object store takes many minutes.

An index only saves time. Each fact belongs to one version of a file, which the folder's listing shows. A missing or invalid index is treated as empty. An
index is always rewritten completely, without files that no longer exist. If two processes write it at once, the last one wins, and the facts that only the
other had are read again.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

from pydantic import TypeAdapter, ValidationError

from core.storage.file_states import FileState
from core.storage.store import Store

FOLDER = ".index"

Fact = TypeVar("Fact")
Entry = TypeVar("Entry")


def known_facts(
    store: Store,
    name: str,
    kind: type[Fact],
    files: Mapping[str, FileState],
    read: Callable[[Sequence[str]], Mapping[str, Fact]],
    holds: Callable[[Fact], bool] = lambda _: True,
    listed: Collection[str] = (),
) -> dict[str, Fact]:
    """Return the fact of each file that has one; only files that the index lacks are read.

    Args:
        store: the data root.
        name: name of the index.
        kind: type of the facts, as pydantic validates it.
        files: the files, with their states before reading.
        read: returns the facts of files; files that it omits are read again the next time.
        holds: returns whether the fact of an unchanged file is still valid.
        listed: all files of the same folders; empty if `files` has all of them.
    """
    path = f"{FOLDER}/{name}.json"
    adapter: TypeAdapter[dict[str, tuple[str, Fact]]] = TypeAdapter(dict[str, tuple[str, kind]])  # ty: ignore[invalid-type-form]
    try:
        index = adapter.validate_json(store.read_bytes(path)) if store.exists(path) else {}
    except ValidationError:
        index = {}
    known = {file: index[file][1] for file, state in files.items() if file in index and index[file][0] == state.version and holds(index[file][1])}
    facts = read([file for file in files if file not in known])
    if new := {file: (files[file].version, fact) for file, fact in facts.items() if files[file].mark}:
        store.write(path, adapter.dump_json(_of_existing_files(store, index, set(listed or files)) | new))
    return known | dict(facts)


def _of_existing_files(store: Store, index: Mapping[str, Entry], listed: set[str]) -> dict[str, Entry]:
    """Return the entries of an index without those of deleted files; entries of folders that were not listed stay.

    Another process may have created and indexed a file after `listed` was made. Folders with entries that `listed` lacks are therefore listed again.
    """
    folders = {_folder_of(file) for file in listed} & {_folder_of(file) for file in index.keys() - listed}
    existing = listed.union(*(store.names(folder) for folder in folders))
    return {file: entry for file, entry in index.items() if file in existing or _folder_of(file) not in folders}


def _folder_of(file: str) -> str:
    return file.rpartition("/")[0]
