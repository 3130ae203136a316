"""The Hub repository that receives the finished result."""

import argparse
from importlib import import_module
from pathlib import Path

from .events import JobError, emit
from .hub import hub, patiently


def refuse_public(arguments: argparse.Namespace, repo: str, kind: str = "model") -> bool:
    """Rejects a public repository, unless --public, and one that was renamed.

    Returns:
        Whether the repository exists.
    """
    try:
        found = hub().repo_info(repo, repo_type=kind)
    except import_module("huggingface_hub.errors").RepositoryNotFoundError:
        return False
    if found.id.lower() != repo.lower():
        raise JobError(f"The {kind} {repo!r} is called {found.id!r} now; give that name.")
    if not (found.private or arguments.public):
        wrong = f"The {kind} {repo!r} is public, and nothing is pushed there"
        raise JobError(f"{wrong}; make it private, or give --public.")
    return True


def open_repository(arguments: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Creates the repository if it is missing and checks that the token may write to it.

    Returns:
        Its branches and its tags, with their commits.
    """
    api, repo = hub(), arguments.push_to
    if not import_module("huggingface_hub").get_token():
        remedy = "set HF_TOKEN to one that may write, or leave out --push-to"
        raise JobError(f"There is no token for {repo!r}; {remedy}.")
    if not patiently(arguments, f"looking at {repo!r}", lambda: refuse_public(arguments, repo)):
        patiently(
            arguments,
            f"making {repo!r}",
            lambda: api.create_repo(repo, private=not arguments.public, exist_ok=True),
        )
    asking = f"asking whether the token may write to {repo!r}"
    patiently(arguments, asking, lambda: api.auth_check(repo, write=True))
    reading = f"reading the branches and tags of {repo!r}"
    refs = patiently(arguments, reading, lambda: api.list_repo_refs(repo))
    branches, tags = (
        {ref.name: ref.target_commit for ref in found} for found in (refs.branches, refs.tags)
    )
    return branches, tags


def commit(arguments: argparse.Namespace, branch: str, files: dict[str, Path], title: str) -> str:
    """Commits files under the given names and returns the commit's hash."""
    api, repo = hub(), arguments.push_to
    added = import_module("huggingface_hub").CommitOperationAdd

    def attempt() -> str:
        # New operations for each attempt: used ones remember what the Hub had, and a commit whose
        # response was lost would be made twice.
        operations = [added(name, str(path)) for name, path in sorted(files.items())]
        head = api.repo_info(repo, revision=branch).sha
        api.preupload_lfs_files(repo, operations, revision=branch)
        refuse_public(arguments, repo)  # last, since the upload takes long
        made = api.create_commit(
            repo, operations, commit_message=title, revision=branch, parent_commit=head
        )
        return str(made.oid)

    return patiently(arguments, f"pushing to {repo!r}, branch {branch!r}", attempt)


def set_tag(arguments: argparse.Namespace, made: str) -> str:
    """Tags the finished commit, unless another job has set the tag.

    Returns:
        The commit of the tag, as read back.
    """
    api, repo, tag = hub(), arguments.push_to, arguments.push_tag
    api.create_tag(repo, tag=tag, revision=made, exist_ok=True)
    there = [ref.target_commit for ref in api.list_repo_refs(repo).tags if ref.name == tag]
    if not there:
        raise JobError(f"{repo!r} has no tag {tag!r}, though it was made; look at the repository.")
    return str(there[0])


def deliver(arguments: argparse.Namespace, names: list[str], kind: str) -> None:
    """Commits the result, then tags it: the tag proves that it is complete."""
    repo, tag = arguments.push_to, arguments.push_tag
    files = {name: arguments.output / name for name in names}
    try:
        made = commit(arguments, "main", files, f"{kind} {tag}")
        tagging = f"tagging {repo!r} with {tag!r}"
        made = patiently(arguments, tagging, lambda: set_tag(arguments, made))
    except JobError as error:
        there = f"The result is finished in {str(arguments.output)!r}"
        raise JobError(f"{error.args[0]} {there}; run the same again to push it.") from None
    emit("pushed", repo=repo, commit=made, tag=tag)


def delivered(arguments: argparse.Namespace, tags: dict[str, str]) -> bool:
    """Returns whether the result already exists, and reports it."""
    repo, tag = arguments.push_to, arguments.push_tag
    if tag not in tags:
        return False
    emit("pushed", repo=repo, commit=tags[tag], tag=tag, already=True)
    return True
