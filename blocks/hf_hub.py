"""The Hugging Face Hub."""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from huggingface_hub import CommitOperationAdd, HfApi, constants
from huggingface_hub.errors import (
    GatedRepoError,
    HFValidationError,
    LocalEntryNotFoundError,
    RemoteEntryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import get_token, validate_repo_id
from prefect.blocks.abstract import CredentialsBlock
from pydantic import Field, HttpUrl, SecretStr

from blocks.hf_access import Account, account_of
from blocks.hf_calls import OFFLINE, NotYetError, bound_calls, with_retries
from blocks.hf_visibility import check_license, gated, look, refuse_public
from core.errors import HubError, SettingsError, UnderstudyError
from core.records import Commit, Publication, RepoKind
from core.redaction import learn
from core.settings.addresses import Address, given_address

Answer = TypeVar("Answer")


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
    endpoint: Address = Field(default="", title="Endpoint", description="Another address of the Hub; HF_ENDPOINT does the same.")
    timeout_seconds: float = Field(default=60, gt=0, title="Timeout", description="Seconds that the Hub may be silent in one call.")
    attempts: int = Field(default=6, ge=1, title="Attempts", description="Of one call, counting failures that may pass.")

    def get_client(self) -> HfApi:
        """Return the client, whose calls have a timeout.

        Raises:
            SettingsError: there is no token, or HF_ENDPOINT is no address.
            HubError: the Hub was switched off by HF_HUB_OFFLINE.
        """
        token = learn(self.token.get_secret_value() or get_token())
        if constants.HF_HUB_OFFLINE:
            raise HubError(OFFLINE)
        if not token:
            raise SettingsError("No token for the Hugging Face Hub. Set the environment variable HF_TOKEN, or name a saved block that has one (dataset.hub).")
        given_address(self.endpoint, "HF_ENDPOINT")
        bound_calls(self.timeout_seconds)
        return HfApi(endpoint=self.endpoint or None, token=token)

    def problems(self, publications: Sequence[Publication]) -> tuple[list[UnderstudyError], list[str]]:
        """Return the problems that would stop the publications, and notes for the user; this creates nothing."""
        problems: list[UnderstudyError] = []
        notes: list[str] = []
        try:
            api, account = self.get_client(), self.account()
        except UnderstudyError as error:
            return [error], notes
        for publication in publications:
            try:
                notes += self._check(api, account, publication)
            except UnderstudyError as error:
                problems.append(error)
        for kind, license in dict.fromkeys((publication.kind, publication.license) for publication in publications):
            try:
                self.with_retries("asking whether a licence is known", lambda kind=kind, license=license: check_license(api, kind, license))
            except UnderstudyError as error:
                problems.append(error)
        return problems, notes

    def account(self) -> Account:
        """Return the account of the token, and the token's permissions.

        Raises:
            SettingsError, HubError: there is no token, or the Hub does not answer.
        """
        api = self.get_client()
        return self.with_retries("asking who the token is of", lambda: account_of(api.whoami()))

    def read_access(self, repo: str) -> None:
        """Check that a model exists and that its files may be downloaded.

        Raises:
            HubError: it does not exist, is hidden from the token, or its terms are not accepted.
        """
        api = self.get_client()

        def ask() -> bool:
            try:
                if info := look(api, repo, "model"):
                    api.auth_check(repo)
                return info is not None
            except GatedRepoError as error:
                raise HubError(gated(api, repo)) from error

        if not self.with_retries(f"asking for {repo}", ask):
            raise HubError(f"The Hub has no model {repo}, or this token cannot see it. Correct base.model in the training settings, or the token.")

    def _check(self, api: HfApi, account: Account, planned: Publication) -> list[str]:
        """Check that a publication is possible; return notes for the user."""
        try:
            validate_repo_id(planned.repo)
        except HFValidationError as error:
            raise SettingsError(f"{planned.repo!r} is not a valid repository name: {error}. Correct dataset.repo or export.repo.") from error
        account.enter(planned.repo.partition("/")[0], f"The repository {planned.repo!r}")
        info = self.with_retries(f"looking at {planned.repo}", lambda: look(api, planned.repo, planned.kind))
        if info is None:
            account.make(planned.repo)
            return []
        refuse_public(api, info, planned.kind, planned.private)
        self.with_retries(f"asking whether the token may write to {planned.repo}", lambda: api.auth_check(planned.repo, repo_type=planned.kind, write=True))
        return (
            [] if planned.private or not info.private else [f"{planned.repo} is private and stays private, although the settings ask for a public repository."]
        )

    def push(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], message: str, tag: str, private: bool) -> Commit:
        """Create the repository if necessary, commit the files on its main branch, tag the commit, and verify that the Hub has what was sent.

        Args:
            files: paths or contents, by name in the repository.
            tag: name of the tag; it is moved if it points to another commit.
            private: whether to refuse a public repository; a private one stays private in any case.

        Raises:
            HubError: all attempts failed, the repository is public or was renamed, or the Hub has something else than what was sent.
        """
        api = self.get_client()

        def see() -> str | None:
            if info := look(api, repo, kind):
                refuse_public(api, info, kind, private)
            return info.sha if info else None

        if self.with_retries(f"looking at {repo}", see) is None:
            self.with_retries("making the repository", lambda: api.create_repo(repo, repo_type=kind, private=private, exist_ok=True))

        def commit() -> str:
            # after a commit whose answer was lost, the client finds no change and makes no second commit; this needs new operations, because used ones
            # remember the earlier state of the Hub
            operations = [CommitOperationAdd(path_in_repo=name, path_or_fileobj=data) for name, data in sorted(files.items())]
            head = api.repo_info(repo, repo_type=kind).sha
            api.preupload_lfs_files(repo, operations, repo_type=kind)  # takes hours for large files; meanwhile somebody may make the repository public
            see()
            return api.create_commit(repo, operations, commit_message=message, repo_type=kind, parent_commit=head).oid

        oid = self.with_retries("committing", commit)
        self._tag(api, repo, kind, tag, oid)
        if differing := self._differing(api, repo, kind, files, oid):
            raise HubError(f"The {differing[0]} of {repo} at {oid[:12]} differs from what was pushed. Look at the repository, and push again.")
        return Commit(oid=oid, url=self.page(repo, kind, oid))

    def where(self) -> str:
        """Return the Hub's address."""
        return (self.endpoint or constants.ENDPOINT).rstrip("/")

    def find(self, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], tag: str) -> Commit | None:
        """Return the commit that a tag points to, if it has all these files unchanged; otherwise None.

        Raises:
            HubError: the Hub does not answer, or the repository was renamed.
        """
        oid = self.commit_of(repo, kind, tag)
        same = oid is not None and not self._differing(self.get_client(), repo, kind, files, oid)
        return Commit(oid=oid, url=self.page(repo, kind, oid)) if oid and same else None

    def holds(self, repo: str, kind: RepoKind, commit: Commit) -> bool:
        """Return whether this Hub has a pushed commit.

        Raises:
            HubError: the Hub does not answer, or the repository was renamed.
        """
        if not commit.url.startswith(f"{self.where()}/"):
            return False
        return self.commit_of(repo, kind, commit.oid) == commit.oid

    def page(self, repo: str, kind: RepoKind, commit: str) -> str:
        """Return the address of the web page of a commit."""
        return f"{self.where()}/{'datasets/' if kind == 'dataset' else ''}{repo}/tree/{commit}"

    def commit_of(self, repo: str, kind: RepoKind, revision: str) -> str | None:
        """Return the commit of a branch, a tag or a commit id; None if there is no such repository or revision.

        Raises:
            HubError: the Hub does not answer, the repository was renamed, or its terms are not accepted.
        """
        api = self.get_client()

        def ask() -> str | None:
            try:
                info = look(api, repo, kind, revision)
            except GatedRepoError as error:
                raise HubError(gated(api, repo)) from error
            except RevisionNotFoundError:
                return None
            return info.sha if info else None

        return self.with_retries(f"asking for {repo} at {revision}", ask)

    def fetch(self, repo: str, kind: RepoKind, commit: str, name: str, folder: Path) -> Path | None:
        """Download a file of a commit into a folder, and return its path; None if there is no such file. An interrupted download is resumed.

        Raises:
            HubError: the Hub does not answer.
        """
        api = self.get_client()

        def download() -> Path | None:
            try:
                return Path(api.hf_hub_download(repo, name, repo_type=kind, revision=commit, local_dir=folder))
            except RemoteEntryNotFoundError:
                return None
            except LocalEntryNotFoundError as error:  # the client raises it for any failure of the connection
                if isinstance(error.__cause__, Exception):
                    raise error.__cause__ from None
                raise HubError(f"Cannot download {name} of {repo}: {error}.") from error

        return self.with_retries(f"downloading {name} of {repo}", download)

    def sums(self, repo: str, kind: RepoKind, commit: str, names: list[str]) -> dict[str, tuple[int, str | None]]:
        """Return the size in bytes and the SHA-256 (None except for large files) of each named file that the commit has.

        Raises:
            HubError: the Hub does not answer.
        """
        api = self.get_client()
        items = self.with_retries("reading back", lambda: api.get_paths_info(repo, names, revision=commit, repo_type=kind))
        return {item.path: (item.size, item.lfs.sha256 if item.lfs else None) for item in items if isinstance(item, RepoFile)}

    def environment(self) -> dict[str, str]:
        """Return the environment variables that give a program access to this Hub."""
        token = learn(self.token.get_secret_value() or get_token())
        return {**({"HF_TOKEN": token} if token else {}), **({"HF_ENDPOINT": self.endpoint} if self.endpoint else {})}

    def _tag(self, api: HfApi, repo: str, kind: RepoKind, tag: str, oid: str) -> None:
        """Point a tag to a commit, and verify it."""

        def target() -> str | None:
            return next((ref.target_commit for ref in api.list_repo_refs(repo, repo_type=kind).tags if ref.name == tag), None)

        def move() -> None:
            if (before := target()) not in (None, oid):
                api.delete_tag(repo, tag=tag, repo_type=kind)
            if before != oid:
                api.create_tag(repo, tag=tag, revision=oid, repo_type=kind, exist_ok=True)
            if target() != oid:
                raise NotYetError(f"{repo} has no tag {tag} at {oid[:12]}")

        self.with_retries("tagging", move)

    def _differing(self, api: HfApi, repo: str, kind: RepoKind, files: Mapping[str, Path | bytes], oid: str) -> list[str]:
        """Return the names of the files that the commit lacks or has with other content."""
        items = self.with_retries("reading back", lambda: api.get_paths_info(repo, list(files), revision=oid, repo_type=kind))
        hashes = {item.path: (item.lfs.sha256 if item.lfs else None, item.blob_id) for item in items if isinstance(item, RepoFile)}

        def differs(data: Path | bytes, sha256: str | None, blob: str | None) -> bool:
            return sha256 != _sha256(data) if sha256 else blob is None or blob != _git_hash(data)

        return [name for name, data in files.items() if differs(data, *hashes.get(name, (None, None)))]

    def with_retries(self, doing: str, call: Callable[[], Answer]) -> Answer:
        """Return the result of a call, and repeat the call as long as its failure may be temporary. See `hf_calls.with_retries`.

        Raises:
            HubError: no call succeeded.
        """
        return with_retries(doing, call, self.attempts, self.endpoint)


def _sha256(data: Path | bytes) -> str:
    if isinstance(data, bytes):
        return hashlib.sha256(data).hexdigest()
    with data.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _git_hash(data: Path | bytes) -> str:
    """Return git's object name (SHA-1) for a file's content."""
    content: Any = data if isinstance(data, bytes) else data.read_bytes()
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
