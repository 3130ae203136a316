"""Conversations in a dataset repository of the Hugging Face Hub. Its files are treated as untrusted, and none of its code is run."""

import re
from pathlib import Path

from huggingface_hub import HfApi

from blocks.hf_calls import with_retries
from core.errors import HubError, TranscriptError
from core.imports.transcript_files import READ

NAME = re.compile(r"(?:hf://)?(?:datasets/)?([\w.-]+/[\w.-]+)(?:@([\w./-]+))?")
MAX_REPOSITORY_BYTES = 4 * 2**30
"""Maximum bytes of all files that are fetched; about a million conversations."""
ATTEMPTS = 5


def repository_of(source: str) -> tuple[str, str | None] | None:
    """Return the repository and the revision (None if not given) of `hf://datasets/owner/name@revision` or `owner/name`; None for any other source."""
    match = NAME.fullmatch(source.strip())
    return (match[1], match[2]) if match else None


def fetch_conversations(repo: str, revision: str | None, folder: Path) -> str:
    """Download the files of a repository that can be read; return the commit.

    Args:
        repo: repository, as `owner/name`.
        revision: branch, tag or commit; None for the main branch.
        folder: where the files are put, under their names in the repository.

    Raises:
        HubError: the Hub cannot be reached, or there is no such repository.
        TranscriptError: none of its files can be read, or they are too large in total.
    """
    api = HfApi()
    info = with_retries(f"looking for the dataset {repo}", lambda: api.dataset_info(repo, revision=revision, files_metadata=True), ATTEMPTS, "")
    files = [item for item in info.siblings or [] if item.rfilename.lower().endswith(READ)]
    size = sum(item.size or 0 for item in files)
    if not files:
        raise TranscriptError(f"{repo} has no file that can be read. Readable file types: {', '.join(READ)}.")
    if size > MAX_REPOSITORY_BYTES:
        raise TranscriptError(
            f"{repo} has {size / 2**30:.1f} GiB of such files; {MAX_REPOSITORY_BYTES / 2**30:.0f} are allowed. Fetch a part of it and give the folder."
        )
    if not info.sha:
        raise HubError(f"The Hub did not report a commit of {repo}. Try again later.")
    for item in files:
        with_retries(
            f"fetching {item.rfilename}",
            lambda name=item.rfilename: api.hf_hub_download(repo, name, repo_type="dataset", revision=info.sha, local_dir=folder),
            ATTEMPTS,
            "",
        )
    return info.sha
