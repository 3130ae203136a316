"""Repositories: the caller, and creating, showing and deleting repositories."""

import re

import yaml
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.store import Entry, Repo, Store
from tests.hub_stub.wire import Json, Refused, base_of, caller_of, check_name, find, is_on, no_repo, revision, segment, store_of

CARD = re.compile(r"\A\s*---\r?\n(.*?)\r?\n---", re.DOTALL)
LICENSES = ("apache-2.0", "mit", "openrail", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0", "gpl-3.0", "gemma", "llama3.1", "other", "unknown")
"""Some of the licences that the Hub knows."""
KINDS = ("model", "dataset", "space")


async def whoami(request: Request) -> Response:
    """GET /api/whoami-v2."""
    caller = caller_of(request)
    if caller.name is None:
        raise Refused(401, "Invalid username or password.")
    orgs = [{"type": "org", "id": f"org-{name}", "name": name, "fullname": name, "roleInOrg": caller.org_role, "isEnterprise": False} for name in caller.orgs]
    token: Json = {"displayName": "stub", "role": caller.role, "createdAt": "2026-01-01T00:00:00.000Z"}
    if caller.role == "fineGrained":
        scoped = [
            {"entity": {"_id": place, "type": "model" if "/" in place else "user" if place == caller.name else "org", "name": place}, "permissions": given}
            for places, given in ((caller.writes, ["repo.content.read", "repo.write"]), (caller.jobs, ["job.write"]))
            for place in places
        ]
        token["fineGrained"] = {"global": [], "scoped": scoped, "canReadGatedRepos": True}
    user = {"type": "user", "id": f"user-{caller.name}", "name": caller.name, "fullname": caller.name, "isPro": False, "orgs": orgs}
    return JSONResponse(user | {"auth": {"type": "access_token", "accessToken": token}})


async def create(request: Request) -> Response:
    """POST /api/repos/create."""
    given, caller, store = await request.json(), caller_of(request), store_of(request)
    kind, repo_id = _named(request, given)
    caller.must_write(repo_id.partition("/")[0], repo_id)
    check_name(given["name"])
    url = f"{base_of(request)}/{'datasets/' if kind == 'dataset' else ''}{repo_id}"
    if (kind, repo_id) in store.repos:
        message = f"You already created this {kind} repo: {repo_id}"
        return JSONResponse({"error": message, "url": url}, 409, {"x-error-message": message})
    store.create(kind, repo_id, given.get("visibility") == "private" or bool(given.get("private")), str(caller.name))
    return JSONResponse({"url": url, "name": repo_id, "id": repo_id})


async def delete(request: Request) -> Response:
    """DELETE /api/repos/delete."""
    kind, repo_id = _named(request, await request.json())
    repo, caller = store_of(request).repos.get((kind, repo_id)), caller_of(request)
    if repo is None or (repo.private and not caller.belongs_to(repo.namespace)):
        raise no_repo(caller)
    caller.must_write(repo.namespace, repo.id)
    store_of(request).delete(repo)
    return JSONResponse({"success": True})


def _named(request: Request, given: Json) -> tuple[str, str]:
    kind, caller = given.get("type") or "model", caller_of(request)
    if kind not in KINDS:
        raise Refused(400, f"This stub has no repositories of type {kind!r}, only {', '.join(KINDS)}")
    if caller.name is None:
        raise Refused(401, "Invalid username or password.")
    return kind, f"{given.get('organization') or caller.name}/{given['name']}"


async def nameless(request: Request) -> Response:
    """Refuse a repository without a namespace; this stub has none."""
    raise no_repo(caller_of(request))


async def show(request: Request) -> Response:
    """GET /api/{kind}/{id}, with /revision/{rev} or without."""
    repo = find(request)
    oid = revision(repo, segment(request, "rev") if "rev" in request.path_params else "main")
    return JSONResponse(_shown(store_of(request), repo, oid, is_on(request, "blobs")))


def _shown(store: Store, repo: Repo, oid: str, blobs: bool) -> Json:
    commit, siblings = store.read(oid), []
    for path, entry in sorted(commit.files.items()):
        sibling: Json = {"rfilename": path}
        if blobs:
            sibling |= {"size": entry.size, "blobId": entry.oid}
        if blobs and entry.lfs:
            sibling["lfs"] = {"sha256": entry.sha256, "size": entry.size, "pointerSize": entry.pointer_size}
        siblings.append(sibling)
    found = _card(store, commit.files.get("README.md"))
    return {
        **{"_id": repo.id, "id": repo.id, "modelId": repo.id, "author": repo.namespace, "sha": oid, "private": repo.private, "gated": False, "disabled": False},
        **{"createdAt": repo.created, "lastModified": commit.date, "downloads": 0, "likes": 0, "tags": [], "siblings": siblings},
        **({"cardData": found} if found else {}),
    }


def _card(store: Store, readme: Entry | None) -> Json | None:
    if readme is None:
        return None
    try:
        found = _front_matter(store.blob(readme.sha256).read_text(encoding="utf-8", errors="replace"))
    except yaml.YAMLError:
        return None
    return found if isinstance(found, dict) else None


async def settings(request: Request) -> Response:
    """PUT /api/{kind}/{id}/settings."""
    repo, given = find(request, write=True), await request.json()
    repo.private = given.get("visibility", "private" if repo.private else "public") == "private"
    store_of(request).save(repo)
    return JSONResponse({"private": repo.private})


async def auth_check(request: Request) -> Response:
    """GET /api/{kind}/{id}/auth-check, with /write or without."""
    find(request, write=request.url.path.endswith("/write"))
    return JSONResponse({"ok": True})


async def validate_yaml(request: Request) -> Response:
    """POST /api/validate-yaml: of a card's header whether it is YAML with fields, and whether its licence is known."""
    try:
        found = _front_matter((await request.json())["content"])
    except yaml.YAMLError as problem:
        return JSONResponse({"errors": [{"message": str(problem)}], "warnings": [], "error": "Invalid YAML"}, 400)
    if found is not None and not isinstance(found, dict):
        return JSONResponse({"errors": [{"message": "YAML metadata is not an object"}], "warnings": [], "error": "Invalid YAML"}, 400)
    if isinstance(found, dict) and found.get("license", "mit") not in LICENSES:
        return JSONResponse({"errors": [{"message": '"license" must be one of [...]'}], "warnings": [], "error": "Invalid YAML"}, 400)
    return JSONResponse({"errors": [], "warnings": [] if found else [{"message": "empty or missing yaml metadata in repo card"}]})


def _front_matter(card: str) -> object:
    found = CARD.match(card)
    return yaml.safe_load(found[1]) if found else None


ROUTES = [
    Route("/api/whoami-v2", whoami),
    Route("/api/repos/create", create, methods=["POST"]),
    Route("/api/repos/delete", delete, methods=["DELETE"]),
    Route("/api/validate-yaml", validate_yaml, methods=["POST"]),
    Route("/api/{kind:kind}/{name}", nameless),
    Route("/{name}/resolve/{rev}/{path:path}", nameless),
    Route("/api/{kind:kind}/{namespace}/{name}", show),
    Route("/api/{kind:kind}/{namespace}/{name}/revision/{rev}", show),
    Route("/api/{kind:kind}/{namespace}/{name}/settings", settings, methods=["PUT"]),
    Route("/api/{kind:kind}/{namespace}/{name}/auth-check", auth_check),
    Route("/api/{kind:kind}/{namespace}/{name}/auth-check/write", auth_check),
]
