"""A hub in a local folder, with repositories, commits and tags."""

import hashlib
import io
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from core.errors import HubError, UnderstudyError
from core.records import Commit, Publication, RepoKind
from core.storage.store import Store, open_store


class LocalHub(Block):
    """A folder of repositories. The name of a commit is a hash of its content, so that pushing the same files again makes no new commit.

    Example:
        Push a dataset:
        ```python
        from blocks.local_hub import LocalHub

        hub = LocalHub.load("BLOCK_NAME")
        commit = hub.push("me/coach", "dataset", {"train.parquet": data, "README.md": card}, "First version", tag="run-1", private=True)
        ```
    """

    _block_type_name = "Understudy Local Hub"
    _block_type_slug = "understudy-local-hub"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    folder: str = Field(default="hub", title="Folder", description="Name of the folder below the data root.")

    def problems(self, publications: Sequence[Publication]) -> tuple[list[UnderstudyError], list[str]]:
        """Return nothing, because each run checks that the data root can be written."""
        return [], []

    def push(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], message: str, tag: str, private: bool) -> Commit:
        """Write a commit, and point `main` and a tag to it.

        Args:
            files: paths or contents, by name in the repository.
            message, private: not used; the Hugging Face Hub needs them.

        Raises:
            StoreError: the data root cannot be written.
            HubError: a file differs from what was written.
        """
        store = open_store()
        sums = {name: _sha256(data) for name, data in sorted(files.items())}
        oid = _commit_name(sums)
        place = f"{self.folder}/{kind}s/{repo}"
        for name, data in files.items():
            path = f"{place}/commits/{oid}/{name}"
            if not store.exists(path):
                with store.writing(path) as target, io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as source:
                    shutil.copyfileobj(source, target)
            with store.reading(path) as written:
                if _sum(written) != sums[name]:
                    raise HubError(f"{store.root}/{path} reads back differently from what was written. Delete it and run the same command again.")
        for ref in ("main", f"tags/{tag}"):
            store.write(f"{place}/refs/{ref}", oid + "\n")
        return Commit(oid=oid, url=f"{store.root}/{place}/commits/{oid}")

    def find(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], tag: str) -> Commit | None:
        """Return the commit that a tag points to, if it has exactly these files, undamaged; otherwise None."""
        store, place = open_store(), f"{self.folder}/{kind}s/{repo}"
        oid, ref = _commit_name({name: _sha256(data) for name, data in sorted(files.items())}), f"{place}/refs/tags/{tag}"
        commit = Commit(oid=oid, url=f"{store.root}/{place}/commits/{oid}")
        return commit if store.exists(ref) and store.read(ref).strip() == oid and self.holds(repo, kind, commit) else None

    def where(self) -> str:
        """Return the folder's name."""
        return self.folder

    def holds(self, repo: str, kind: RepoKind, commit: Commit) -> bool:
        """Return whether all files of a commit still exist unchanged."""
        store, folder, sums = open_store(), f"{self.folder}/{kind}s/{repo}/commits/{commit.oid}", {}
        for name in _files(store, folder):
            with store.reading(name) as file:
                sums[name.removeprefix(f"{folder}/")] = _sum(file)
        return _commit_name(sums) == commit.oid

    def environment(self) -> dict[str, str]:
        """Return nothing, because a folder needs no credentials."""
        return {}


def _files(store: Store, folder: str) -> Iterator[str]:
    for name in store.names(folder):
        if store.size(name) is None:
            yield from _files(store, name)
        else:
            yield name


def _commit_name(sums: Mapping[str, str]) -> str:
    return hashlib.sha256(b"".join(name.encode() + bytes.fromhex(digest) for name, digest in sorted(sums.items()))).hexdigest()[:40]


def _sha256(data: Path | bytes) -> str:
    with io.BytesIO(data) if isinstance(data, bytes) else data.open("rb") as file:
        return _sum(file)


def _sum(file: Any) -> str:
    return hashlib.file_digest(file, "sha256").hexdigest()
