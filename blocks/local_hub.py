"""A hub in a folder: the layout of a Hugging Face dataset repository, with commits and tags, on this machine."""

import hashlib
import io
from collections.abc import Mapping, Sequence
from typing import Any

import pyarrow.parquet
from datasets import Dataset, Features, List, Value, disable_progress_bars
from prefect.blocks.core import Block
from pydantic import Field, HttpUrl

from core.errors import StoreError
from core.store import open_store

disable_progress_bars()

FEATURES = Features({"messages": List({"role": Value("string"), "content": Value("string")})})


class LocalHub(Block):
    """A folder of repositories. A commit is named for its content, so that pushing the same files again makes no new one.

    Example:
        Push a dataset and read where it went:
        ```python
        from blocks.local_hub import LocalHub

        hub = LocalHub.load("BLOCK_NAME")
        folder, commit = hub.push_dataset("me/coach", {"train": rows}, "# Card", tag="run-1")
        ```
    """

    _block_type_name = "Understudy Local Hub"
    _block_type_slug = "understudy-local-hub"
    _documentation_url = HttpUrl("https://docs.prefect.io/v3/concepts/blocks")

    folder: str = Field(default="hub", title="Folder", description="Name of the folder below the data root.")

    def push_dataset(self, repo: str, splits: Mapping[str, Sequence[Mapping[str, Any]]], card: str, tag: str) -> tuple[str, str]:
        """Write a commit with one parquet file per split and the card, and point `main` and a tag to it.

        Args:
            splits: rows with `messages`, by split name.
            tag: a name for this version.

        Returns:
            The commit's folder below the data root, and the commit.

        Raises:
            StoreError: the data root cannot be written, or what was read back is not what was written.
        """
        store = open_store()
        files = {f"{split}.parquet": _parquet(rows) for split, rows in splits.items()} | {"README.md": card.encode()}
        commit = hashlib.sha256(b"".join(name.encode() + hashlib.sha256(data).digest() for name, data in sorted(files.items()))).hexdigest()[:40]
        folder = f"{self.folder}/datasets/{repo}/commits/{commit}"
        for name, data in files.items():
            if not store.exists(f"{folder}/{name}"):
                store.write(f"{folder}/{name}", data)
        for split, rows in splits.items():
            if self.read_split(folder, split) != [{"messages": row["messages"]} for row in rows]:
                raise StoreError(f"{store.root}/{folder}/{split}.parquet reads back differently from what was written. Delete it and run again.")
        for ref in ("main", f"tags/{tag}"):
            store.write(f"{self.folder}/datasets/{repo}/refs/{ref}", commit + "\n")
        return folder, commit

    def read_split(self, folder: str, split: str) -> list[dict[str, Any]]:
        """Return the rows of a commit's split."""
        return Dataset(pyarrow.parquet.read_table(io.BytesIO(open_store().read_bytes(f"{folder}/{split}.parquet")))).to_list()


def _parquet(rows: Sequence[Mapping[str, Any]]) -> bytes:
    buffer = io.BytesIO()
    Dataset.from_list([{"messages": row["messages"]} for row in rows], features=FEATURES).to_parquet(buffer)
    return buffer.getvalue()
