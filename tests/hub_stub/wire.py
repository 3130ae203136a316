"""Shared by all parts of the stub: refusals, callers, and the repository of a path."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import unquote

from starlette.convertors import StringConvertor, register_url_convertor
from starlette.requests import Request
from starlette.responses import JSONResponse

from tests.hub_stub.store import Repo, Store

Json = dict[str, Any]

NAME = re.compile(r"[A-Za-z0-9_](?:[\w\-.]{0,94}[A-Za-z0-9_])?", re.ASCII)
NAME_RULE = (
    "Invalid repo name: use alphanumeric characters, '-', '_' or '.'; '--' and '..' are forbidden, '-' and '.' cannot start or end it, '.git' cannot end it, "
    "and it has at most 96 characters"
)


class Kind(StringConvertor):
    """The part of a path for the kind of a repository."""

    regex = "models|datasets|spaces"


register_url_convertor("kind", Kind())  # before the routes of any part are created


class Refused(Exception):  # noqa: N818  it is an answer
    """An error, answered with the headers and the body that the client reads."""

    def __init__(self, status: int, message: str, code: str | None = None, headers: Mapping[str, str] | None = None) -> None:
        self.status, self.message, self.code, self.headers = status, message, code, headers or {}

    def answer(self) -> JSONResponse:
        """Return it as a response."""
        headers = {"x-error-message": self.message.encode("ascii", "replace").decode(), **self.headers}
        if self.code:
            headers["x-error-code"] = self.code
        return JSONResponse({"error": self.message}, self.status, headers)


@dataclass(frozen=True, slots=True)
class Caller:
    """The owner of a token; nobody without a token."""

    name: str | None = None
    role: str = "none"
    orgs: tuple[str, ...] = ()
    writes: tuple[str, ...] = ()
    """Namespaces and repositories that a fine-grained token may write."""
    jobs: tuple[str, ...] = ()
    """Namespaces whose jobs a fine-grained token may start."""
    org_role: str = "admin"
    """The caller's role in each of their organisations."""

    def belongs_to(self, namespace: str) -> bool:
        """Return whether this is the caller's namespace, or that of one of their organisations."""
        return self.name is not None and namespace in (self.name, *self.orgs)

    def must_write(self, namespace: str, repo: str) -> None:
        """Refuse a caller who may not write there."""
        if self.name is None:
            raise Refused(401, "Invalid username or password.")
        if self.role == "read":
            raise Refused(403, "Forbidden: you must use a write token to upload to a repository.")
        if not self.belongs_to(namespace):
            raise Refused(403, f'You don\'t have the rights to write under the namespace "{namespace}"')
        if namespace in self.orgs and self.org_role == "read":
            raise Refused(403, f'You don\'t have the rights to write under the namespace "{namespace}"')
        if self.role != "write" and not {namespace, repo} & {*self.writes}:
            raise Refused(403, f"Forbidden: your fine-grained token has no write permission for {repo}")


def read_callers(tokens: Json) -> dict[str, Caller]:
    """Return callers by token.

    Args:
        tokens: by token `user`, `role` (write, read, fineGrained) and, if wanted, `orgs`, `org_role`, `writes` and `jobs`.
    """
    return {
        token: Caller(
            given["user"], given["role"], *(tuple(given.get(part, ())) for part in ("orgs", "writes", "jobs")), org_role=given.get("org_role", "admin")
        )
        for token, given in tokens.items()
    }


def authenticate(callers: Mapping[str, Caller], header: str | None) -> Caller:
    """Return the caller; an unknown token is refused even where none is needed."""
    if not header:
        return Caller()
    caller = callers.get(header.removeprefix("Bearer ").strip())
    if caller is None:
        raise Refused(401, "Invalid credentials in Authorization header")
    return caller


def caller_of(request: Request) -> Caller:
    """Return the caller."""
    return request.scope["hub.caller"]


def store_of(request: Request) -> Store:
    """Return the store."""
    return request.app.state.store


def base_of(request: Request) -> str:
    """Return the address that the client uses for the Hub."""
    return f"http://{request.headers['host']}"


def segment(request: Request, name: str) -> str:
    """Return a part of the path, decoded."""
    return unquote(request.path_params[name])


def kind_of(request: Request) -> str:
    """Return `model` or `dataset`; a path outside /api without a kind is a model's."""
    return request.path_params.get("kind", "models").removesuffix("s")


def is_on(request: Request, name: str) -> bool:
    """Return whether a switch of the query is on."""
    return request.query_params.get(name, "").lower() in ("1", "true")


def find(request: Request, write: bool = False) -> Repo:
    """Return the repository that the path names, if the caller may see (and write) it; for others it does not exist."""
    caller, repo_id = caller_of(request), f"{segment(request, 'namespace')}/{segment(request, 'name')}"
    repo = store_of(request).repos.get((kind_of(request), repo_id))
    if repo is None or (repo.private and not caller.belongs_to(repo.namespace)):
        raise no_repo(caller)
    if write:
        caller.must_write(repo.namespace, repo.id)
    return repo


def no_repo(caller: Caller) -> Refused:
    """Return the error for a missing or hidden repository: 401 without a token and 404 with one, as on the Hub."""
    if caller.name is None:
        return Refused(401, "Invalid username or password.", "RepoNotFound")
    return Refused(404, "Repository not found", "RepoNotFound")


def revision(repo: Repo, name: str) -> str:
    """Return the commit that a branch, tag, `refs/...` or commit names."""
    plain = name.removeprefix("refs/heads/").removeprefix("refs/tags/")
    found = repo.branches.get(plain) or repo.tags.get(plain) or (name if name in repo.commits else None)
    if found is None:
        raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
    return found


def paged(request: Request, items: list[Json], size: int) -> JSONResponse:
    """Return one page of a list, with a link to the next."""
    start = int(request.query_params.get("cursor", 0))
    more = start + size < len(items)
    headers = {"link": f'<{request.url.replace(scheme="http").include_query_params(cursor=start + size)}>; rel="next"'} if more else {}
    return JSONResponse(items[start : start + size], headers=headers)


def check_name(name: str) -> None:
    """Refuse a repository name that the Hub does not allow."""
    if not NAME.fullmatch(name) or any(part in name for part in ("--", "..")) or name.endswith((".git", ".ipynb")):
        raise Refused(400, NAME_RULE)


def folders(paths: Mapping[str, Any]) -> Iterator[str]:
    """Yield every folder that contains files."""
    yield from sorted({path[:at] for path in paths for at, letter in enumerate(path) if letter == "/"})
