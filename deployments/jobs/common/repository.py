"""The Hub repository that receives the finished result."""

import argparse
from importlib import import_module
from pathlib import Path

from .events import JobError, emit
from .hub import hub, patiently


def refuse_public(arguments: argparse.Namespace, repo: str, kind: str = "model") -> bool:
    """Reject a renamed repository, and a public one unless --public is given.

    Returns:
        Whether the repository exists.
    """
    try:
        info = hub().repo_info(repo, repo_type=kind)
    except import_module("huggingface_hub.errors").RepositoryNotFoundError:
        return False
    if info.id.lower() != repo.lower():
        raise JobError(f"The {kind} {repo!r} is called {info.id!r} now; give that name.")
    if not (info.private or arguments.public):
        wrong = f"The {kind} {repo!r} is public, and nothing is pushed there"
        raise JobError(f"{wrong}; make it private, or give --public.")
    return True


def open_repository(arguments: argparse.Namespace) -> tuple[dict[str, str], dict[str, str]]:
    """Create the repository if it is missing, and check that the token may write to it.

    Returns:
        Its branches and its tags, each as name → commit.
    """
    api, repo = hub(), arguments.push_to
    if not import_module("huggingface_hub").get_token():
        remedy = "set HF_TOKEN to a token with write access, or leave out --push-to"
        raise JobError(f"There is no token for {repo!r}; {remedy}.")
    if not patiently(arguments, f"looking at {repo!r}", lambda: refuse_public(arguments, repo)):
        patiently(
            arguments,
            f"creating {repo!r}",
            lambda: api.create_repo(repo, private=not arguments.public, exist_ok=True),
        )
    asking = f"asking whether the token may write to {repo!r}"
    patiently(arguments, asking, lambda: api.auth_check(repo, write=True))
    reading = f"reading the branches and tags of {repo!r}"
    refs = patiently(arguments, reading, lambda: api.list_repo_refs(repo))
    branches, tags = (
        {ref.name: ref.target_commit for ref in group} for group in (refs.branches, refs.tags)
    )
    return branches, tags


def commit(arguments: argparse.Namespace, branch: str, files: dict[str, Path], title: str) -> str:
    """Commit files under the given names; return the commit's hash."""
    api, repo = hub(), arguments.push_to
    added = import_module("huggingface_hub").CommitOperationAdd

    def attempt() -> str:
        # New operations for each attempt: used ones remember what the Hub had, so that a commit
        # whose response was lost would be made twice.
        operations = [added(name, str(path)) for name, path in sorted(files.items())]
        head = api.repo_info(repo, revision=branch).sha
        api.preupload_lfs_files(repo, operations, revision=branch)
        refuse_public(arguments, repo)  # checked again, since the upload takes long
        info = api.create_commit(
            repo, operations, commit_message=title, revision=branch, parent_commit=head
        )
        return str(info.oid)

    return patiently(arguments, f"pushing to {repo!r}, branch {branch!r}", attempt)


def set_tag(arguments: argparse.Namespace, finished: str) -> str:
    """Tag the finished commit, unless another job has set the tag.

    Returns:
        The commit of the tag, as read back.
    """
    api, repo, tag = hub(), arguments.push_to, arguments.push_tag
    api.create_tag(repo, tag=tag, revision=finished, exist_ok=True)
    commits = [ref.target_commit for ref in api.list_repo_refs(repo).tags if ref.name == tag]
    if not commits:
        raise JobError(f"{repo!r} has no tag {tag!r}, though it was set; look at the repository.")
    return str(commits[0])


def deliver(arguments: argparse.Namespace, names: list[str], kind: str) -> None:
    """Commit the result, then tag it: the tag shows that the result is complete."""
    repo, tag = arguments.push_to, arguments.push_tag
    files = {name: arguments.output / name for name in names}
    try:
        finished = commit(arguments, "main", files, f"{kind} {tag}")
        tagging = f"tagging {repo!r} with {tag!r}"
        tagged = patiently(arguments, tagging, lambda: set_tag(arguments, finished))
    except JobError as error:
        saved = f"The result is finished in {str(arguments.output)!r}"
        raise JobError(f"{error.args[0]} {saved}; run the same command to push it.") from None
    emit("pushed", repo=repo, commit=tagged, tag=tag)


def delivered(arguments: argparse.Namespace, tags: dict[str, str]) -> bool:
    """Return whether the result already exists; report it if so."""
    repo, tag = arguments.push_to, arguments.push_tag
    if tag not in tags:
        return False
    emit("pushed", repo=repo, commit=tags[tag], tag=tag, already=True)
    return True
