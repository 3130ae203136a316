"""Checks of a Hub repository before anything is published there: its name, its visibility, and the licence on its card."""

from huggingface_hub import HfApi
from huggingface_hub.errors import BadRequestError, GatedRepoError, RepositoryNotFoundError
from huggingface_hub.hf_api import DatasetInfo, ModelInfo
from huggingface_hub.utils import build_hf_headers, get_session, hf_raise_for_status

from core.errors import HubError, SettingsError
from core.records import RepoKind

RepoFound = ModelInfo | DatasetInfo


def look(api: HfApi, repo: str, kind: RepoKind, revision: str | None = None) -> RepoFound | None:
    """Return a repository's description; None if it does not exist or is hidden from this token.

    Raises:
        HubError: the repository was renamed; the Hub redirects the old name.
        GatedRepoError: its terms are not accepted.
        RevisionNotFoundError: it has no such revision.
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
    """Refuse to publish private data in a public repository. A gated repository is public too: everyone sees its card and its file names.

    Raises:
        HubError: `private` is set and the repository is public.
    """
    if private and not info.private:
        place = f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{info.id}/settings"
        raise HubError(
            f"The {kind} repository {info.id} is public, but the settings require a private one. Nothing was pushed. Make it private ({place}), name "
            "another repository, or set private: false in that part of the settings."
        )


def gated(api: HfApi, repo: str) -> str:
    """Return the advice for a repository whose terms are not accepted."""
    return f"{repo} is gated. Accept its terms at {api.endpoint}/{repo} with the account of the token (a fine-grained one must be allowed gated repositories)."


def check_license(api: HfApi, kind: RepoKind, license: str) -> None:
    """Check that the Hub accepts a licence's name on a card. Otherwise it would refuse the card only after everything is made and paid for.

    Raises:
        SettingsError: the Hub does not know the licence.
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
