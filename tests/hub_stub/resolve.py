"""Downloads."""

from urllib.parse import quote, unquote

from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route

from tests.hub_stub.wire import Refused, find, revision, segment, store_of


async def resolve(request: Request) -> Response:
    """GET and HEAD /{id}/resolve/{rev}/{path}, whole or in ranges; with `cdn`, a large file is at another address, as on the Hub."""
    repo, store, path = find(request), store_of(request), unquote(request.path_params["path"])
    oid = revision(repo, segment(request, "rev"))
    entry = store.read(oid).files.get(path)
    if entry is None:
        raise Refused(404, "Entry not found", "EntryNotFound", {"x-repo-commit": oid})
    headers = {"x-repo-commit": oid, "etag": f'"{entry.etag}"', "content-disposition": f"inline; filename*=UTF-8''{quote(path.rsplit('/', 1)[-1])}"}
    if entry.lfs:
        headers |= {"x-linked-size": str(entry.size), "x-linked-etag": f'"{entry.sha256}"'}
    if entry.lfs and request.app.state.cdn:
        # not the origin 127.0.0.1, so the client does not send its token
        port = request.headers["host"].rpartition(":")[2]
        return Response(status_code=302, headers=headers | {"location": f"http://localhost:{port}/_cdn/{entry.sha256}"})
    return FileResponse(store.blob(entry.sha256), headers=headers, media_type="text/plain" if path.endswith((".md", ".txt")) else "application/octet-stream")


async def cdn(request: Request) -> Response:
    """GET and HEAD /_cdn/{sha256}: a request with a token is refused."""
    place = store_of(request).blob(request.path_params["sha256"])
    if "authorization" in request.headers:
        raise Refused(400, "Only one auth mechanism allowed: a signed address is used without a token.")
    if not place.exists():
        raise Refused(403, "AccessDenied")
    return FileResponse(place, headers={"etag": f'"{place.name}"'}, media_type="application/octet-stream")


ROUTES = [
    Route("/_cdn/{sha256}", cdn),
    Route("/{kind:kind}/{namespace}/{name}/resolve/{rev}/{path:path}", resolve),
    Route("/{namespace}/{name}/resolve/{rev}/{path:path}", resolve),
]
