"""Branches and tags."""

import re
from collections.abc import Mapping

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.hub_stub.wire import Json, Refused, find, revision, segment, store_of

REF = re.compile(r"(?!.*(?:\.\.|//|@\{|[\x00-\x20~^:?*\[\\]))[^/.-][^\n]*(?<![/.])(?<!\.lock)")


async def refs(request: Request) -> Response:
    """GET /api/{kind}/{id}/refs."""

    def listed(place: str, names: Mapping[str, str]) -> list[Json]:
        return [{"name": name, "ref": f"refs/{place}/{name}", "targetCommit": oid} for name, oid in sorted(names.items())]

    repo = find(request)
    return JSONResponse({"branches": listed("heads", repo.branches), "tags": listed("tags", repo.tags), "converts": [], "pullRequests": []})


async def add_tag(request: Request) -> Response:
    """POST /api/{kind}/{id}/tag/{rev}."""
    given = await request.json()
    return _add_ref(request, "tags", given["tag"], segment(request, "rev"))


async def add_branch(request: Request) -> Response:
    """POST /api/{kind}/{id}/branch/{rev}."""
    given = await request.json()
    return _add_ref(request, "branches", segment(request, "rev"), given.get("startingPoint") or "main")


def _add_ref(request: Request, place: str, name: str, start: str) -> Response:
    repo = find(request, write=True)
    oid, names = revision(repo, start), getattr(repo, place)
    if not REF.fullmatch(name):
        raise Refused(400, f"Invalid reference name: {name}")
    if name in names:
        raise Refused(409, "Tag reference exists already" if place == "tags" else "Reference already exists")
    names[name] = oid
    store_of(request).save(repo)
    return JSONResponse({"name": name, "targetCommit": oid}, 201)


async def remove_ref(request: Request) -> Response:
    """DELETE /api/{kind}/{id}/tag/{rev} and /branch/{rev}."""
    repo, name = find(request, write=True), segment(request, "rev")
    names = repo.tags if "/tag/" in request.url.path else repo.branches
    if name not in names:
        raise Refused(404, f"Invalid rev id: {name}", "RevisionNotFound")
    if names is repo.branches and name == "main":
        raise Refused(403, "You cannot delete the main branch")
    del names[name]
    store_of(request).save(repo)
    return JSONResponse({"success": True})


ROUTES = [
    Route("/api/{kind:kind}/{namespace}/{name}/refs", refs),
    Route("/api/{kind:kind}/{namespace}/{name}/tag/{rev}", add_tag, methods=["POST"]),
    Route("/api/{kind:kind}/{namespace}/{name}/branch/{rev}", add_branch, methods=["POST"]),
    Route("/api/{kind:kind}/{namespace}/{name}/tag/{rev}", remove_ref, methods=["DELETE"]),
    Route("/api/{kind:kind}/{namespace}/{name}/branch/{rev}", remove_ref, methods=["DELETE"]),
]
