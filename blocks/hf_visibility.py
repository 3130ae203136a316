"""Who can see a repository of the Hub, and whether it is still the one that is named; asked before work and right before each push."""

from huggingface_hub import HfApi
from huggingface_hub.errors import GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo

from core.errors import HubError
from core.records import RepoKind

RepoFound = ModelInfo | DatasetInfo


def look(api: HfApi, repo: str, kind: RepoKind, revision: str | None = None) -> RepoFound | None:
    """Return a repository, or none if there is none or it is not shown to this token.

    Raises:
        HubError: it was renamed; the Hub redirects the old name.
        GatedRepoError, RevisionNotFoundError: its terms are not accepted, or it has no such revision.
    """
    try:
        found = api.repo_info(repo, repo_type=kind, revision=revision)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None
    assert isinstance(found, RepoFound)
    if found.id.lower() != repo.lower():
        raise HubError(f"The {kind} repository {repo} is called {found.id} now. Write that name into the settings, or make a repository of the old name.")
    return found


def refuse_public(api: HfApi, found: RepoFound, kind: RepoKind, private: bool) -> None:
    """Refuse to publish something private where others can see it; a gated repository is public too, for its cards and names of files are.

    Raises:
        HubError: they can.
    """
    if private and not found.private:
        place = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{found.id}/settings"
        raise HubError(
            f"The {kind} repository {found.id} is public, and what is published there is to be private. Nothing was pushed. Make it private ({place}), name "
            "another repository, or set private: false in that part of the settings."
        )
