"""What the Hub says of a repository before something is published there: its name, who can see it, and whether it takes the card."""

from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from core.errors import HubError, SettingsError
from core.records import RepoKind

RepoFound = ModelInfo | DatasetInfo


def look(api: HfApi, repo: str, kind: RepoKind, revision: str | None = None) -> RepoFound | None:
    """Return a repository, or none if there is none or it is not shown to this token.

    Raises:
        HubError: it was renamed; the Hub redirects the old name.
        GatedRepoError, RevisionNotFoundError: its terms are not accepted, or it has no such revision.
    """
    try:
        info = api.repo_info(repo, repo_type=kind, revision=revision)
    except GatedRepoError:
        raise
    except RepositoryNotFoundError:
        return None
    assert isinstance(info, RepoFound)
    if info.id.lower() != repo.lower():
        raise HubError(f"The {kind} repository {repo} is now called {info.id}. Write that name into the settings, or create a repository with the old name.")
    return info


def refuse_public(api: HfApi, info: RepoFound, kind: RepoKind, private: bool) -> None:
    """Refuse to publish something private where others can see it; a gated repository is public too, for its cards and names of files are.

    Raises:
        HubError: they can.
    """
    if private and not info.private:
        place = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{info.id}/settings"
        raise HubError(
            f"The {kind} repository {info.id} is public, but the settings require a private one. Nothing was pushed. Make it private ({place}), name "
            "another repository, or set private: false in that part of the settings."
        )


def gated(api: HfApi, repo: str) -> str:
    """Return what to do about a repository whose terms are not accepted."""
    return f"{repo} is gated. Accept its terms at {api.endpoint}/{repo} with the account of the token (a fine-grained one must be allowed gated repositories)."


def check_license(api: HfApi, kind: RepoKind, license: str) -> None:
    """Check that the Hub takes a licence's name on a card, which it refuses otherwise when all is made and paid.

    Raises:
        SettingsError: it does not.
        HfHubHTTPError: the Hub does not answer.
    """
    card = {"content": f"---\nlicense: {license}\n---\n", "repoType": kind}
    answer = get_session().post(f"{api.endpoint}/api/validate-yaml", json=card, headers=build_hf_headers(token=api.token))
    try:
        hf_raise_for_status(answer)
    except BadRequestError as error:
        setting = "dataset.license" if kind == "dataset" else "base.license in the training settings"
        raise SettingsError(
            f"The Hub does not know the licence {license!r} ({setting}). Allowed: the names at huggingface.co/docs/hub/repositories-licenses, such as "
            "apache-2.0, mit, cc-by-4.0, other or unknown."
        ) from error
