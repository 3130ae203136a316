"""Conversations that are in a dataset repository of the Hugging Face Hub: its files are fetched and read as any stranger's; no code of it is run."""

import re
from pathlib import Path

from huggingface_hub import HfApi

from blocks.hf_calls import patiently
from core.errors import HubError, TranscriptError
from core.imports.transcript_files import READ

NAME = re.compile(r"(?:hf://)?(?:datasets/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
LARGEST_REPOSITORY = 4 * 2**30
"""Bytes of all files that would be fetched: about a million conversations."""
ATTEMPTS = 5


def repository_of(source: str) -> tuple[str, str | None] | None:
    """Return the repository and the revision that a source names: `hf://datasets/owner/name@revision`, or the bare `owner/name`; none for anything else."""
    found = NAME.fullmatch(source.strip())
    return (found[1], found[2]) if found else None


def fetch_conversations(repo: str, revision: str | None, folder: Path) -> str:
    """Fetch the files of a repository that can be read into a folder below the given one; return the commit.

    Raises:
        HubError: the Hub cannot be reached, or there is no such repository.
        TranscriptError: none of its files can be read, or they are too large together.
    """
    api = HfApi()
    info = patiently(f"looking for the dataset {repo}", lambda: api.dataset_info(repo, revision=revision, files_metadata=True), ATTEMPTS, "")
    files = [item for item in info.siblings or [] if item.rfilename.lower().endswith(READ)]
    size = sum(item.size or 0 for item in files)
    if not files:
        raise TranscriptError(f"{repo} has no file that can be read. Readable file types: {', '.join(READ)}.")
    if size > LARGEST_REPOSITORY:
        raise TranscriptError(
            f"{repo} has {size / 2**30:.1f} GiB of such files; {LARGEST_REPOSITORY / 2**30:.0f} are allowed. Fetch a part of it and give the folder."
        )
    if not info.sha:
        raise HubError(f"The Hub did not report a commit of {repo}. Try again later.")
    for item in files:
        patiently(
            f"fetching {item.rfilename}",
            lambda name=item.rfilename: api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha, local_dir=folder),
            ATTEMPTS,
            "",
        )
    return info.sha
