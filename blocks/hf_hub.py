"""The Hugging Face Hub."""

import hashlib
import os
import random
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx2
from huggingface_hub import CommitOperationAdd, HfApi, constants, set_client_factory
from huggingface_hub.errors import HfHubHTTPError, HFValidationError, OfflineModeIsEnabled
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import get_token, validate_repo_id
from huggingface_hub.utils._http import hf_request_event_hook
from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr

from core.errors import HubError, SettingsError
from core.records import Commit, RepoKind

Answer = TypeVar("Answer")

PASSING = (408, 409, 412, 429, 500, 502, 503, 504)
"""Statuses after which the same may go well a moment later: the Hub's own troubles, and somebody else's commit that came first."""

FIRST, LONGEST, LONGEST_ASKED = 0.5, 30.0, 120.0
"""Seconds: the pause after a failure doubles from the one to the other; and the longest that the Hub may ask for."""

OFFLINE = "HF_HUB_OFFLINE is set, so that nothing can be pushed to the Hugging Face Hub. Unset it, or use dataset.hub: local."

REMEDIES = {
    401: "Check the token: it is wrong, expired or revoked.",
    402: "The account has no credit for this.",
    403: "The token may not do this. Make one that may write to this repository.",
    404: "Check dataset.repo and the token: a private repository is not shown to those who may not see it.",
}
"""What to do, by status."""


class HfHub(CredentialsBlock):
    """The Hugging Face Hub.

    Example:
        Push a dataset:
        ```python
        from blocks.hf_hub import HfHub

        hub = HfHub.load("BLOCK_NAME")
        commit = hub.push("me/coach", "dataset", {"train.parquet": path, "README.md": card}, "First version", tag="run-1", private=True)
        ```
    """

    _block_type_name = "Understudy Hugging Face Hub"
    _block_type_slug = "understudy-hf-hub"
    _documentation_url = HttpUrl("https://huggingface.co/docs/huggingface_hub/package_reference/hf_api")

    token: SecretStr = Field(default=SecretStr(""), title="Token", description="One that may write. Without one, HF_TOKEN or this machine's login is used.")
    endpoint: str = Field(default="", title="Endpoint", description="Another address of the Hub; HF_ENDPOINT does the same.")
    timeout_seconds: float = Field(default=60, gt=0, title="Timeout", description="Seconds that the Hub may be silent in one call.")
    attempts: int = Field(default=6, ge=1, title="Attempts", description="Of one call, counting failures that may pass.")

    def get_client(self) -> HfApi:
        """Return the client, whose calls have a timeout.

        Raises:
            SettingsError: there is no token.
            HubError: the Hub was switched off by HF_HUB_OFFLINE.
        """
        token = self.token.get_secret_value() or get_token()
        if constants.HF_HUB_OFFLINE:
            raise HubError(OFFLINE)
        if not token:
            raise SettingsError("No token for the Hugging Face Hub. Set the environment variable HF_TOKEN, or name a saved block that has one (dataset.hub).")
        # the client's own factory sets no timeout at all
        hooks: dict[str, list[Callable[..., Any]]] = {"request": [hf_request_event_hook]}
        timeout = httpx2.Timeout(self.timeout_seconds, connect=10)
        set_client_factory(lambda: httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=timeout))
        return HfApi(endpoint=self.endpoint or None, token=token)

    def check(self, repo: str, kind: RepoKind) -> None:
        """See that the name is allowed, the Hub can be reached, and the token may write there; makes nothing.

        Raises:
            SettingsError, HubError: the first thing that is wrong.
        """
        try:
            validate_repo_id(repo)
        except HFValidationError as error:
            raise SettingsError(f"dataset.repo {repo!r} is no name of a repository: {error}") from error
        api, namespace = self.get_client(), repo.partition("/")[0]
        user = self._patiently("asking who the token is of", api.whoami)
        access = (user.get("auth") or {}).get("accessToken") or {}
        if access.get("role") == "read":
            raise HubError(f"The token of {user['name']} may only read. Make one that may write (huggingface.co/settings/tokens) and put it into HF_TOKEN.")
        places = [user["name"], *(org["name"] for org in user.get("orgs", []))]
        if namespace not in places:
            raise HubError(f"dataset.repo {repo!r} is in {namespace!r}, where the token of {user['name']} may not write. Allowed: {', '.join(places)}.")

    def push(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], message: str, tag: str, private: bool) -> Commit:
        """Make the repository if it is not there, commit the files on its main branch, tag the commit, and see that the Hub has what was sent.

        Args:
            files: by name in the repository.
            private: of a repository that is made; one that is there stays as it is.

        Raises:
            HubError: it did not go through within the attempts, or the Hub has something else now.
        """
        api = self.get_client()
        self._patiently("making the repository", lambda: api.create_repo(repo, repo_type=kind, private=private, exist_ok=True))

        def commit() -> str:
            # a commit whose answer was lost is found by the client, which makes none where nothing is changed: by new operations, for those that were
            # used remember what the Hub had before
            operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in sorted(files.items())]
            head = api.repo_info(repo, repo_type=kind).sha
            return api.create_commit(repo, operations, commit_message=message, repo_type=kind, parent_commit=head).oid

        oid = self._patiently("committing", commit)
        self._patiently("tagging", lambda: api.create_tag(repo, tag=tag, revision=oid, repo_type=kind, exist_ok=True))
        self._verify(api, repo, kind, files, oid)
        return Commit(oid=oid, url=f"{api.endpoint}/{'datasets/' if kind == 'dataset' else ''}{repo}/tree/{oid}")

    def _verify(self, api: HfApi, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], oid: str) -> None:
        found = self._patiently("reading back", lambda: api.get_paths_info(repo, list(files), revision=oid, repo_type=kind))
        there = {item.path: (item.lfs.sha256 if item.lfs else None, item.blob_id) for item in found if isinstance(item, RepoFile)}
        for name, data in files.items():
            sha256, blob = there.get(name, (None, None))
            if sha256 != _sha256(data) if sha256 else blob != _git_hash(data):
                raise HubError(f"{repo} at {oid[:12]} has another {name} than was pushed. Look at the repository, and push again.")

    def _patiently(self, doing: str, call: Callable[[], Answer]) -> Answer:
        """Call until it goes well, as long as what is wrong may pass."""
        for attempt in range(1, self.attempts + 1):
            try:
                return call()
            except (HfHubHTTPError, httpx2.TransportError, OfflineModeIsEnabled, RuntimeError) as raised:
                # the client wraps what went wrong while a file was uploaded
                error = raised.__cause__ if isinstance(raised, RuntimeError) and raised.__cause__ else raised
                if not _may_pass(error) or attempt == self.attempts:
                    raise self._explained(doing, error, attempt) from error
                time.sleep(_retry_after(error) or min(LONGEST, FIRST * 2**attempt) * random.uniform(0.5, 1))
        raise AssertionError

    def _explained(self, doing: str, error: BaseException, attempts: int) -> HubError:
        tried = f" after {attempts} attempts" if attempts > 1 else ""
        if isinstance(error, OfflineModeIsEnabled):
            return HubError(OFFLINE)
        if isinstance(error, HfHubHTTPError):
            status, said = error.response.status_code, (error.server_message or str(error)).splitlines()[0].rstrip(".")
            return HubError(f"The Hub answered {status} while {doing}{tried}: {said}. {REMEDIES.get(status, 'Try again later.')}")
        if isinstance(error, httpx2.TransportError):
            where = self.endpoint or os.environ.get("HF_ENDPOINT") or constants.ENDPOINT
            return HubError(f"The Hub cannot be reached at {where} while {doing}{tried}: {str(error) or type(error).__name__}. Try again later.")
        return HubError(f"The Hub's client failed while {doing}: {error}. Try again later.")


def _may_pass(error: BaseException) -> bool:
    return error.response.status_code in PASSING if isinstance(error, HfHubHTTPError) else isinstance(error, httpx2.TransportError)


def _retry_after(error: BaseException) -> float | None:
    given = error.response.headers.get("retry-after", "") if isinstance(error, HfHubHTTPError) else ""
    return min(LONGEST_ASKED, float(given)) if given.replace(".", "", 1).isdigit() else None


def _sha256(data: Path | bytes) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_hash(data: Path | bytes) -> str:
    """Return the name that git gives a file's content."""
    content: Any = data if isinstance(data, bytes) else data.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
