"""A dataset on the Hub: only the parquet files of the required splits, at one commit."""

import argparse
import re
import unicodedata
from pathlib import Path
from typing import Any

from .hub import hub, patiently

Messages = list[dict[str, str]]


def composed(text: str) -> str:
    """Return a text in Unicode's NFC, in which a letter and its accent are one character.

    Some tokenizers compose them and llama.cpp does not, so a decomposed text would be tokenized
    differently in use than in training.
    """
    return unicodedata.normalize("NFC", text)


def as_read(text: str) -> str:
    """Return a text in the form used for training: composed and stripped.

    Some templates strip replies and some do not; a stripped reply renders the same with both.
    """
    return composed(text).strip()


def look_up_dataset(arguments: argparse.Namespace) -> Any:
    """Return the Hub's description of --dataset at --dataset-revision; `sha` is its commit."""
    repo, revision = arguments.dataset, arguments.dataset_revision
    looking = f"looking up the dataset {repo!r}"
    return patiently(arguments, looking, lambda: hub().dataset_info(repo, revision=revision))


def files_of(info: Any, split: str, folder: str = "") -> list[str]:
    """Return the names of a split's parquet files.

    Args:
        folder: the folder of a configuration; empty for the default one.
    """
    pattern = rf"{folder or '(data/)?'}{split}(-\d+-of-\d+(-\w+)?)?\.parquet"
    names = sorted(sibling.rfilename for sibling in info.siblings)
    return [name for name in names if re.fullmatch(pattern, name)]


def download_files(arguments: argparse.Namespace, info: Any, names: list[str]) -> list[Path]:
    repo, api = arguments.dataset, hub()

    def fetch_one(name: str) -> Path:
        options = {"repo_type": "dataset", "revision": info.sha}
        doing = f"downloading {name!r} of {repo!r}"
        return Path(patiently(arguments, doing, lambda: api.hf_hub_download(repo, name, **options)))

    return [fetch_one(name) for name in names]
