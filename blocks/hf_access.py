"""The permissions of a Hub token, as the Hub reports them (whoami-v2). They are checked before any work is done."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from core.errors import HubError

TOKENS = "huggingface.co/settings/tokens"
READERS = ("read", "no_access")
"""Roles of an organisation's members who may not write there. A contributor may create repositories and write to them."""


@dataclass(frozen=True)
class Account:
    """The account of a token, and the token's permissions.

    Args:
        name: the user's name.
        role: role of the token: write, read or fineGrained.
        orgs: the user's role in each organisation, by the organisation's name.
        scopes: permissions of a fine-grained token, by the name of a user, an organisation or a repository.
    """

    name: str
    role: str
    orgs: Mapping[str, str]
    scopes: Mapping[str, frozenset[str]]

    def enter(self, namespace: str, what: str) -> None:
        """Check that the token has write access to a namespace.

        Args:
            namespace: a user or an organisation.
            what: subject of the error message, such as "The repository 'me/coach'".

        Raises:
            HubError: it has none.
        """
        if self.role == "read":
            raise HubError(f"The token of {self.name} is read-only. Create one with write access ({TOKENS}) and put it into HF_TOKEN.")
        if namespace not in (self.name, *self.orgs):
            allowed = ", ".join([self.name, *self.orgs])
            raise HubError(f"{what} is in {namespace!r}, where the token of {self.name} has no write access. Allowed: {allowed}.")
        if self.orgs.get(namespace) in READERS:
            raise HubError(f"{what} is in {namespace!r}, where {self.name} has only read access. Ask an administrator there for the role contributor or write.")

    def make(self, repo: str) -> None:
        """Check that the token may create a repository.

        Raises:
            HubError: it may not.
        """
        namespace = repo.partition("/")[0]
        scopes = self.scopes.get(namespace, frozenset())
        if self.role == "fineGrained" and not any(name.startswith("repo.") and not name.endswith(".read") for name in scopes):
            raise HubError(
                f"The fine-grained token of {self.name} has no permission to create the repository {repo}. Give it write access to "
                f"the repositories of {namespace} ({TOKENS})."
            )

    def run_jobs(self, namespace: str) -> None:
        """Check that the token may start jobs that a namespace pays for.

        Raises:
            HubError: it may not.
        """
        self.enter(namespace, "The account that pays for jobs")
        # job.write is a permission of tokens in the Hub's OpenAPI description (huggingface.co/.well-known/openapi.json)
        if self.role == "fineGrained" and "job.write" not in self.scopes.get(namespace, ()):
            raise HubError(
                f"The fine-grained token of {self.name} has no permission to start jobs in {namespace}. Give it the permission for jobs there ({TOKENS})."
            )


def account_of(answer: Mapping[str, Any]) -> Account:
    """Return the account that an answer to whoami describes."""
    token = (answer.get("auth") or {}).get("accessToken") or {}
    scopes: dict[str, frozenset[str]] = {}
    for scope in (token.get("fineGrained") or {}).get("scoped") or []:
        name = str((scope.get("entity") or {}).get("name"))
        scopes[name] = scopes.get(name, frozenset()) | {*scope.get("permissions", [])}
    orgs = {str(org["name"]): str(org.get("roleInOrg", "")) for org in answer.get("orgs", [])}
    return Account(str(answer["name"]), str(token.get("role", "")), orgs, scopes)
